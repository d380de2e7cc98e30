"""resnet32x4 → resnet8x4 on CIFAR-100 with KD.

    python tools/train.py configs/kd/kd_resnet32x4_resnet8x4_1xb64_cifar100.py

Needs the teacher of configs/baselines/resnet32x4_1xb64_cifar100.py.
Published: 73.33 (Tian et al., CRD), alone 72.50.
"""
_base_ = ['../_base_/methods/kd_crd.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet8x4_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet32x4_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/resnet32x4_1xb64_cifar100/model_last.pth')
