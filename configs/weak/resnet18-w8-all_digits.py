"""The small student with the labels of all 1,200 digits: the reference for weak labels.

    python tools/train.py configs/weak/resnet18-w8-all_digits.py

Needs nothing: scikit-learn ships the images.
"""
_base_ = ['../baselines/resnet18-w8_digits.py']
train_dataloader = dict(dataset=dict(num_samples=None))
# a strong weight decay: without it students memorise wrong labels, with a teacher as much as without
optim_wrapper = dict(optimizer=dict(lr=0.4, weight_decay=5e-3))
train_cfg = dict(max_epochs=15, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=5))
