"""resnet56 → resnet20 on CIFAR-100 with WSLD.

    python tools/train.py configs/wsld/wsld_resnet56_resnet20_1xb64_cifar100.py

Needs the teacher of configs/baselines/resnet56_1xb64_cifar100.py.
Published: 72.15 (the WSLD paper as its author quotes it), alone 69.06.
"""
_base_ = ['../_base_/methods/wsld_cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet20_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet56_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/resnet56_1xb64_cifar100/model_last.pth')
