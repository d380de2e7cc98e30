"""resnet20 → resnet8 on CIFAR-100 with KD.

    python tools/train.py configs/kd/kd_resnet20_resnet8_1xb64_cifar100.py

Needs the teacher of configs/baselines/resnet20_1xb64_cifar100.py.
Published: nothing.
"""
_base_ = ['../_base_/methods/kd_crd.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet8_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet20_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/resnet20_1xb64_cifar100/model_last.pth')
