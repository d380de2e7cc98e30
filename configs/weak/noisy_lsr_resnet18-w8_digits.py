"""Noisy labels, 40 % of 1,200 digits: label smoothing.

    python tools/train.py configs/weak/noisy_lsr_resnet18-w8_digits.py

Needs nothing: scikit-learn ships the images. ε = 0.1.
"""
_base_ = ['../tf_kd/lsr_resnet18-w8_digits.py']
train_dataloader = dict(dataset=dict(
    _delete_=True, type='wsld_plugin.NoisyLabels', kind='symmetric', rate=0.4,
    dataset=dict(type='wsld_plugin.Digits', split='train', pipeline=_base_.train_pipeline)))
optim_wrapper = dict(optimizer=dict(lr=0.4, weight_decay=5e-3))
train_cfg = dict(max_epochs=15, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=5))
