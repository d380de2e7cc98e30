"""WRN-16-2 alone on CIFAR-100, on the schedule of the CRD tables: 703,284 parameters.

    python tools/train.py configs/baselines/wrn-16-2_1xb64_cifar100.py

Needs data/cifar100. Published: 73.26 (Tian et al., CRD).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    backbone=dict(type='wsld_plugin.WideResNet', depth=16, widen_factor=2),
    head=dict(in_channels=128, init_cfg=_base_.uniform_without_bias))
