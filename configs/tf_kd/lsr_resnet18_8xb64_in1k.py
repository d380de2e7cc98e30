"""ResNet-18 on ImageNet with label smoothing.

    bash tools/dist_train.sh configs/tf_kd/lsr_resnet18_8xb64_in1k.py 8

Needs ImageNet in data/imagenet/{train,val}.
Published: 70.02, alone 69.84 (Yuan et al.).
"""
_base_ = ['../_base_/methods/label_smoothing.py', '../_base_/protocols/imagenet_bs512.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18_8xb64_in1k.py'),
    teacher=dict(num_classes=1000))
