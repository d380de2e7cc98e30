"""ResNet50 alone on CIFAR-100, on the schedule of the CRD tables: 23,705,252 parameters.

    python tools/train.py configs/baselines/resnet50_1xb64_cifar100.py

Needs data/cifar100. Published: 79.34 (Tian et al., CRD).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=50, zero_init_residual=False),
    head=dict(in_channels=2048))
