"""ResNet-50 alone on ImageNet, on the schedule of teacher-free KD.

    bash tools/dist_train.sh configs/baselines/resnet50_8xb64_in1k.py 8

Needs ImageNet in data/imagenet/{train,val}. Published: 75.77 (Yuan et al.).
"""
_base_ = ['mmpretrain::_base_/models/resnet50.py', '../_base_/protocols/imagenet_bs512.py']
model = dict(backbone=dict(zero_init_residual=False), head=dict(init_cfg=None))  # first weights as torchvision's
