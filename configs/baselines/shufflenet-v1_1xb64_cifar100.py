"""ShuffleNetV1 alone on CIFAR-100, on the schedule of the CRD tables: 949,258 parameters.

    python tools/train.py configs/baselines/shufflenet-v1_1xb64_cifar100.py

Needs data/cifar100. Published: 70.50 (Tian et al., CRD).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(backbone=dict(type='wsld_plugin.CifarShuffleNetV1'), head=dict(in_channels=960))
optim_wrapper = dict(optimizer=dict(lr=0.01))
