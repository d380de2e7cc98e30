"""resnet32x4 alone on CIFAR-100, on the schedule of the CRD tables: 7,433,860 parameters.

    python tools/train.py configs/baselines/resnet32x4_1xb64_cifar100.py

Needs data/cifar100. Published: 79.42 (Tian et al., CRD).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    backbone=dict(type='wsld_plugin.CifarResNet', depth=32, stem_channels=32, base_channels=64),
    head=dict(in_channels=256))
