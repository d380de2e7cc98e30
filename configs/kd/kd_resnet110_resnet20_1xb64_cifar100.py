"""resnet110 → resnet20 on CIFAR-100 with KD.

    python tools/train.py configs/kd/kd_resnet110_resnet20_1xb64_cifar100.py

Needs the teacher of configs/baselines/resnet110_1xb64_cifar100.py.
Published: 70.67 (Tian et al., CRD), alone 69.06.
"""
_base_ = ['../_base_/methods/kd_crd.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet20_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet110_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/resnet110_1xb64_cifar100/model_last.pth')
