"""resnet8 alone on CIFAR-100, on the schedule of the CRD tables: 83,892 parameters.

    python tools/train.py configs/baselines/resnet8_1xb64_cifar100.py

Needs data/cifar100. Published: nothing in those tables.
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(backbone=dict(type='wsld_plugin.CifarResNet', depth=8), head=dict(in_channels=64))
