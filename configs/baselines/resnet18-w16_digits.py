"""A second teacher of the digits family, half as wide as the first, for ensembles.

    python tools/train.py configs/baselines/resnet18-w16_digits.py

Needs nothing: scikit-learn ships the images.
"""
_base_ = ['./resnet18-w32_digits.py']
model = dict(backbone=dict(stem_channels=16, base_channels=16), head=dict(in_channels=128))
