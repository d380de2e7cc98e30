"""The large network on symmetric label noise: the teacher of the noisy students.

    python tools/train.py configs/weak/noisy_resnet18-w32_digits.py

Needs nothing: scikit-learn ships the images. The student's learning rate and weight decay.
"""
_base_ = ['./noisy_resnet18-w8_digits.py']
model = dict(backbone=dict(stem_channels=32, base_channels=32), head=dict(in_channels=256))
