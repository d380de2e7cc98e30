"""GoogLeNet alone on CIFAR-100, on the schedule of the teacher-free tables: 6,258,500 parameters.

    python tools/train.py configs/baselines/googlenet_1xb64_cifar100.py

Needs data/cifar100. Published: 78.15 (Yuan et al., best epoch).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64_200e.py']
model = dict(backbone=dict(type='wsld_plugin.CifarGoogLeNet'), head=dict(in_channels=1024))
