"""vgg13 → vgg8 on CIFAR-100 with KD.

    python tools/train.py configs/kd/kd_vgg13_vgg8_1xb64_cifar100.py

Needs the teacher of configs/baselines/vgg13_1xb64_cifar100.py.
Published: 72.98 (Tian et al., CRD), alone 70.36.
"""
_base_ = ['../_base_/methods/kd_crd.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/vgg8_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/vgg13_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/vgg13_1xb64_cifar100/model_last.pth')
