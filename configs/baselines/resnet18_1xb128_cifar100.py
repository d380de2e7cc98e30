"""ResNet18 alone on CIFAR-100, on the schedule of the teacher-free tables: 11,220,132 parameters.

    python tools/train.py configs/baselines/resnet18_1xb128_cifar100.py

Needs data/cifar100. Published: 75.87 (Yuan et al., best epoch).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(
    backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18, zero_init_residual=False, init_cfg=None),
    head=dict(in_channels=512))
