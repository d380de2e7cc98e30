"""A classifier for CIFAR-100 without a backbone and without ``in_channels`` of the head.

``init_cfg=None``: the classifier starts as PyTorch's, weights and biases uniform in ±1/√in_channels. A network whose
source starts otherwise sets ``init_cfg`` of its head.
"""
# weights uniform in ±1/√in_channels, bias 0
uniform_without_bias = [dict(
    type='Kaiming', layer='Linear', a=5**0.5, nonlinearity='leaky_relu', mode='fan_in', distribution='uniform')]

model = dict(
    type='ImageClassifier',
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=100, init_cfg=None, loss=dict(type='CrossEntropyLoss'), topk=(1, 5)))
