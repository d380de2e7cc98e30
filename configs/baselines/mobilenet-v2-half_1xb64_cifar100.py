"""MobileNetV2 of half width alone on CIFAR-100, on the schedule of the CRD tables: 812,836 parameters.

    python tools/train.py configs/baselines/mobilenet-v2-half_1xb64_cifar100.py

Needs data/cifar100. Published: 64.60 (Tian et al., CRD).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    backbone=dict(type='wsld_plugin.CifarMobileNetV2', widen_factor=0.5, variant='crd'),
    head=dict(in_channels=1280, init_cfg=[dict(type='Normal', layer='Linear', std=0.01)]))
optim_wrapper = dict(optimizer=dict(lr=0.01))
