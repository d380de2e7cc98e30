"""ResNet50 alone on CIFAR-100, on the schedule of the teacher-free tables: 23,705,252 parameters.

    python tools/train.py configs/baselines/resnet50-200e_1xb64_cifar100.py

The CRD tables' ResNet50 is resnet50_1xb64_cifar100.py: other data, schedule and first weights.
Needs data/cifar100. Published: 78.16 (Yuan et al., best epoch).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64_200e.py']
model = dict(
    backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=50, zero_init_residual=False, init_cfg=None),
    head=dict(in_channels=2048))
