"""resnet110 → resnet32 on CIFAR-100 with KD.

    python tools/train.py configs/kd/kd_resnet110_resnet32_1xb64_cifar100.py

Needs the teacher of configs/baselines/resnet110_1xb64_cifar100.py.
Published: 73.08 (Tian et al., CRD), alone 71.14.
"""
_base_ = ['../_base_/methods/kd_crd.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet32_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet110_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/resnet110_1xb64_cifar100/model_last.pth')
