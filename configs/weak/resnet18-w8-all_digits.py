"""The small student with the labels of all 1,200 digits: what weak labels are compared to.

    python tools/train.py configs/weak/resnet18-w8-all_digits.py

Needs nothing: scikit-learn ships the images.
"""
_base_ = ['../baselines/resnet18-w8_digits.py']
train_dataloader = dict(dataset=dict(num_samples=None))
# a strong weight decay: without it students learn wrong labels by heart, a plain one no less than a taught one
optim_wrapper = dict(optimizer=dict(lr=0.4, weight_decay=5e-3))
train_cfg = dict(max_epochs=15, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=5))
