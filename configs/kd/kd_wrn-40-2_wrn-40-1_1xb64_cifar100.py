"""WRN-40-2 → WRN-40-1 on CIFAR-100 with KD.

    python tools/train.py configs/kd/kd_wrn-40-2_wrn-40-1_1xb64_cifar100.py

Needs the teacher of configs/baselines/wrn-40-2_1xb64_cifar100.py.
Published: 73.54 (Tian et al., CRD), alone 71.98.
"""
_base_ = ['../_base_/methods/kd_crd.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/wrn-40-1_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/wrn-40-2_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/wrn-40-2_1xb64_cifar100/model_last.pth')
