"""ResNet-18 on ImageNet with Tf-KD_reg as in the paper: a virtual teacher.

    bash tools/dist_train.sh configs/tf_kd/tf-kd-reg_resnet18_8xb64_in1k.py 8

Needs ImageNet in data/imagenet/{train,val}.
Published: 70.24, alone 69.84 (Yuan et al.).
"""
_base_ = ['../_base_/methods/tf_kd_reg.py', '../_base_/protocols/imagenet_bs512.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18_8xb64_in1k.py'),
    teacher=dict(num_classes=1000))
