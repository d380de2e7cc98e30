"""ResNeXt29 alone on CIFAR-100, on the schedule of the teacher-free tables: 34,518,948 parameters.

    python tools/train.py configs/baselines/resnext29_1xb64_cifar100.py

Needs data/cifar100. Published: 81.03 (Yuan et al., best epoch).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64_200e.py']
model = dict(
    backbone=dict(type='wsld_plugin.CifarResNeXt', depth=29, groups=8, width_per_group=64),
    head=dict(in_channels=1024, init_cfg=[dict(type='Kaiming', layer='Linear', mode='fan_in')]))
