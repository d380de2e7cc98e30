"""The teacher of the digits family, trained with label smoothing.

    python tools/train.py configs/regularization/resnet18-w32-smooth_digits.py

Needs nothing: scikit-learn ships the images.
"""
_base_ = ['../baselines/resnet18-w32_digits.py']
model = dict(head=dict(loss=dict(
    _delete_=True, type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')))
