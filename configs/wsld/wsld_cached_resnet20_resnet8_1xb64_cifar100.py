"""resnet20 → resnet8 on CIFAR-100 with WSLD from cached soft labels: 24 augmentations of each image.

    python tools/cache_soft_labels.py configs/wsld/wsld_cached_resnet20_resnet8_1xb64_cifar100.py
    python tools/train.py configs/wsld/wsld_cached_resnet20_resnet8_1xb64_cifar100.py

Needs the teacher of configs/baselines/resnet20_1xb64_cifar100.py, and 250 MB for the cache.
Published: nothing.
"""
_base_ = ['../_base_/methods/wsld_cached.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet8_1xb64_cifar100.py'),
    teacher=dict(
        views=24,  # each comes ten times in 240 epochs
        model=dict(cfg_path='{{ fileDirname }}/../baselines/resnet20_1xb64_cifar100.py'),
        checkpoint='work_dirs/resnet20_1xb64_cifar100/model_last.pth',
        make='missing'),
    distiller=dict(distill_losses=dict(loss_wsld=dict(tau=4.0, loss_weight=2.25))))
