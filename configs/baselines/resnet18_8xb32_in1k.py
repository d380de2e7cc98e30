"""ResNet-18 alone on ImageNet: the baseline of the ResNet-34 → ResNet-18 pair.

    bash tools/dist_train.sh configs/baselines/resnet18_8xb32_in1k.py 8

Needs ImageNet in data/imagenet/{train,val}.
Published: 69.90 (OpenMMLab, this protocol), 69.75 (the WSLD paper's student alone).
"""
_base_ = [
    'mmpretrain::_base_/models/resnet18.py',
    '../_base_/datasets/imagenet_bs32.py',
    '../_base_/schedules/imagenet_bs256.py',
    '../_base_/default_runtime.py',
]
