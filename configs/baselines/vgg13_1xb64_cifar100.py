"""vgg13 alone on CIFAR-100, on the schedule of the CRD tables: 9,462,180 parameters.

    python tools/train.py configs/baselines/vgg13_1xb64_cifar100.py

Needs data/cifar100. Published: 74.64 (Tian et al., CRD).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    backbone=dict(type='wsld_plugin.CifarVGG', depth=13),
    head=dict(in_channels=512, init_cfg=[dict(type='Normal', layer='Linear', std=0.01)]))
