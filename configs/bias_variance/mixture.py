"""Images whose true class probabilities are known: bias and variance without the noise of the labels.

    python tools/bias_variance.py configs/bias_variance/mixture.py

Needs nothing: the images are drawn from ten Gaussians. Bayes' rule is right on 87 % of them.
"""
title = 'Ten Gaussians: students of 100 labelled images'
parts = 12       # of the 1,200 training images
size = 100       # images of each
models = 5
teachers = 1     # on all 1,200 images
every = 10       # epochs between two validations
options = {**{f'{split}_dataloader.dataset.type': 'wsld_plugin.Mixture' for split in ('train', 'val', 'test')},
           'train_dataloader.dataset.num_samples': None}

_SHORT = {'train_cfg.max_epochs': 50}  # of 200; the teacher keeps its own

rows = [
    dict(name='no teacher', cells=[
        dict(method='hard labels', config='../baselines/resnet18-w8_digits.py', options=_SHORT)]),
    dict(name='KD', cells=[
        dict(method='τ = 4', tau=4., config='../kd/kd_resnet18-w32_resnet18-w8_digits.py', options=_SHORT)]),
]
