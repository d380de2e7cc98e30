"""The large network on asymmetric label noise: the teacher of the asymmetric students.

    python tools/train.py configs/weak/asymmetric_resnet18-w32_digits.py

Needs nothing: scikit-learn ships the images. With probability 0.4 a digit is labelled as the next one, 9 as 0.
"""
_base_ = ['./noisy_resnet18-w32_digits.py']
train_dataloader = dict(dataset=dict(kind='asymmetric'))
