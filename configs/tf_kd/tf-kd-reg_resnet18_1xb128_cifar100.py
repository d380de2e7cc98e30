"""ResNet18 on CIFAR-100 with Tf-KD_reg, the authors' code: a virtual teacher.

    python tools/train.py configs/tf_kd/tf-kd-reg_resnet18_1xb128_cifar100.py

Needs data/cifar100.
Published: 77.36 (best epoch), alone 75.87.
"""
_base_ = ['../_base_/methods/tf_kd_reg_official.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18_1xb128_cifar100.py'),
    teacher=dict(num_classes=100),
    hard_weight=0.9,
    distiller=dict(distill_losses=dict(loss_kd=dict(tau=20.0, loss_weight=0.1, multiplier=100.0))))
