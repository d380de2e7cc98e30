"""resnet110 alone on CIFAR-100, on the schedule of the CRD tables: 1,736,564 parameters.

    python tools/train.py configs/baselines/resnet110_1xb64_cifar100.py

Needs data/cifar100. Published: 74.31 (Tian et al., CRD).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(backbone=dict(type='wsld_plugin.CifarResNet', depth=110), head=dict(in_channels=64))
