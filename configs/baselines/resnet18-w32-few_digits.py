"""The large network of the digits family alone on 100 images: the baseline of Re-KD.

    python tools/train.py configs/baselines/resnet18-w32-few_digits.py

Needs nothing: scikit-learn ships the images.
"""
_base_ = ['./resnet18-w8_digits.py']
model = dict(backbone=dict(stem_channels=32, base_channels=32), head=dict(in_channels=256))
optim_wrapper = dict(optimizer=dict(lr=0.1))  # the best of 0.05, 0.1, 0.2 and 0.4
