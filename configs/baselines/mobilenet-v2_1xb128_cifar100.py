"""MobileNetV2 alone on CIFAR-100, on the schedule of the teacher-free tables: 2,369,380 parameters.

    python tools/train.py configs/baselines/mobilenet-v2_1xb128_cifar100.py

Needs data/cifar100. Published: 68.38 (Yuan et al., best epoch).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(backbone=dict(type='wsld_plugin.CifarMobileNetV2', variant='tf_kd'), head=dict(in_channels=1280))
