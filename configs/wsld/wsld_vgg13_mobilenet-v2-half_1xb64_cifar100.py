"""vgg13 → MobileNetV2 on CIFAR-100 with WSLD.

    python tools/train.py configs/wsld/wsld_vgg13_mobilenet-v2-half_1xb64_cifar100.py

Needs the teacher of configs/baselines/vgg13_1xb64_cifar100.py.
Published: not verified; alone 64.60.
"""
_base_ = ['../_base_/methods/wsld_cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/mobilenet-v2-half_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/vgg13_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/vgg13_1xb64_cifar100/model_last.pth')
optim_wrapper = dict(optimizer=dict(lr=0.01))
