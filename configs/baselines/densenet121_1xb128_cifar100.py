"""DenseNet121 alone on CIFAR-100, on the schedule of the teacher-free tables: 7,048,548 parameters.

    python tools/train.py configs/baselines/densenet121_1xb128_cifar100.py

Needs data/cifar100. Published: 79.04 (Yuan et al., best epoch).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(backbone=dict(type='wsld_plugin.CifarDenseNet', depth=121), head=dict(in_channels=1024))
