"""WRN-40-1 alone on CIFAR-100, on the schedule of the CRD tables: 569,780 parameters.

    python tools/train.py configs/baselines/wrn-40-1_1xb64_cifar100.py

Needs data/cifar100. Published: 71.98 (Tian et al., CRD).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    backbone=dict(type='wsld_plugin.WideResNet', depth=40, widen_factor=1),
    head=dict(in_channels=64, init_cfg=_base_.uniform_without_bias))
