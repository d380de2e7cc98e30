"""MobileNetV1 alone on ImageNet: the baseline of the ResNet-50 → MobileNetV1 pair.

    bash tools/dist_train.sh configs/baselines/mobilenet-v1_8xb32_in1k.py 8

Needs ImageNet in data/imagenet/{train,val}. Published: nothing with this protocol, which is MMRazor's; 68.87 (the
WSLD paper's student alone).
"""
_base_ = [
    '../_base_/models/mobilenet_v1.py',
    '../_base_/datasets/imagenet_bs32.py',
    '../_base_/schedules/imagenet_bs256.py',
    '../_base_/default_runtime.py',
]
