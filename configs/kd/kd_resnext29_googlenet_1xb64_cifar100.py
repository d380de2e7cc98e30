"""ResNeXt29 → GoogLeNet on CIFAR-100 with KD as the authors' code of Tf-KD computes it.

    python tools/train.py configs/kd/kd_resnext29_googlenet_1xb64_cifar100.py

Needs the teacher of configs/baselines/resnext29_1xb64_cifar100.py.
The authors' code has no settings for this pair: batch 64 is that of their other runs of both networks, α=0.6 that of
their larger students.
Published: 78.84 (best epoch), alone 78.15.
"""
_base_ = ['../_base_/methods/tf_kd_official.py', '../_base_/protocols/cifar100_bs64_200e.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/googlenet_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnext29_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/resnext29_1xb64_cifar100/model_best.pth',
    hard_weight=0.4,
    distiller=dict(distill_losses=dict(loss_kd=dict(loss_weight=0.6))))
