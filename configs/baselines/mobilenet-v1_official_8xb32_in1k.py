"""MobileNetV1 alone on ImageNet, the protocol of the authors' code of WSLD.

    bash tools/dist_train.sh configs/baselines/mobilenet-v1_official_8xb32_in1k.py 8

Needs ImageNet in data/imagenet/{train,val}. Its weights start with PyTorch's defaults.
Published: 68.87 (the WSLD paper's student alone).
"""
_base_ = ['../_base_/models/mobilenet_v1.py', '../_base_/protocols/imagenet_bs256_official.py']
model = dict(backbone=dict(init_cfg=None), head=dict(init_cfg=None))
