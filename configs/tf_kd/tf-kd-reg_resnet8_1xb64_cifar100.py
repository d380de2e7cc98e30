"""resnet8 on CIFAR-100 with Tf-KD_reg, the authors' code's setting for ResNet18, on the schedule of the CRD tables.

    python tools/train.py configs/tf_kd/tf-kd-reg_resnet8_1xb64_cifar100.py
"""
_base_ = ['../_base_/methods/tf_kd_reg_official.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet8_1xb64_cifar100.py'),
    teacher=dict(num_classes=100),
    hard_weight=0.9,
    distiller=dict(distill_losses=dict(loss_kd=dict(tau=20.0, loss_weight=0.1, multiplier=100.0))))
