"""A small student alone on 200 handwritten digits, twenty of each class.

    python tools/train.py configs/baselines/resnet18-w4_digits.py

Needs nothing: scikit-learn ships the images.
"""
_base_ = [
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits.py',
    '../_base_/digits_runtime.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, in_channels=1, stem_channels=4, base_channels=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=32, loss=dict(type='CrossEntropyLoss')))
train_dataloader = dict(dataset=dict(num_samples=200))
optim_wrapper = dict(optimizer=dict(lr=0.1))  # the best of 0.05, 0.1 and 0.2
