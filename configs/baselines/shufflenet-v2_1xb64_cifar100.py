"""ShuffleNetV2 alone on CIFAR-100, on the schedule of the CRD tables: 1,355,528 parameters.

    python tools/train.py configs/baselines/shufflenet-v2_1xb64_cifar100.py

Needs data/cifar100. Published: 71.82 (Tian et al., CRD).
"""
_base_ = ['../_base_/models/cifar100.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(backbone=dict(type='wsld_plugin.CifarShuffleNetV2', variant='crd'), head=dict(in_channels=1024))
optim_wrapper = dict(optimizer=dict(lr=0.01))
