"""resnet32x4 → resnet8x4 on CIFAR-100 with WSLD.

    python tools/train.py configs/wsld/wsld_resnet32x4_resnet8x4_1xb64_cifar100.py

Needs the teacher of configs/baselines/resnet32x4_1xb64_cifar100.py.
Published: 76.05 (the WSLD paper as its author quotes it), alone 72.50.
"""
_base_ = ['../_base_/methods/wsld_cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet8x4_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet32x4_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/resnet32x4_1xb64_cifar100/model_last.pth')
