"""resnet8x4 alone on CIFAR-100, on the schedule of the CRD tables: 1,233,540 parameters.

    python tools/train.py configs/baselines/resnet8x4_1xb64_cifar100.py

Needs data/cifar100. Published: 72.50 (Tian et al., CRD).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    backbone=dict(type='wsld_plugin.CifarResNet', depth=8, stem_channels=32, base_channels=64),
    head=dict(in_channels=256))
