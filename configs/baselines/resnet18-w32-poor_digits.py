"""A poorly trained teacher of the digits family: one epoch of twenty.

    python tools/train.py configs/baselines/resnet18-w32-poor_digits.py

Needs nothing: scikit-learn ships the images.
"""
_base_ = ['./resnet18-w32_digits.py']
train_cfg = dict(max_epochs=1, val_interval=1)
