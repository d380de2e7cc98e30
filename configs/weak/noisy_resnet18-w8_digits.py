"""Noisy labels: 40 % of 1,200 digits have a wrong label, on which the small student is trained.

    python tools/train.py configs/weak/noisy_resnet18-w8_digits.py

Needs nothing: scikit-learn ships the images.
"""
_base_ = ['./resnet18-w8-all_digits.py']
train_dataloader = dict(dataset=dict(
    _delete_=True, type='wsld_plugin.NoisyLabels', kind='symmetric', rate=0.4,
    dataset=dict(type='wsld_plugin.Digits', split='train', pipeline=_base_.train_pipeline)))
