"""ResNet-50 → MobileNetV1 on ImageNet with WSLD, the protocol of the authors' code.

    bash tools/dist_train.sh configs/wsld/wsld_resnet50_mobilenet-v1_official_8xb32_in1k.py 8

Needs ImageNet in data/imagenet/{train,val} and torchvision's ResNet-50 (76.13 %; the paper: 76.16), which torchvision
downloads from https://download.pytorch.org/models/resnet50-0676ba61.pth; its names are converted on loading.
The protocol is that of wsld_resnet34_resnet18_official_8xb32_in1k.py; the student starts with PyTorch's defaults.
Published: 71.52 (paper).
"""
_base_ = ['../_base_/methods/wsld.py', '../_base_/protocols/imagenet_bs256_official.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/mobilenet-v1_official_8xb32_in1k.py'),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet50_8xb32_in1k.py'),
    teacher_ckpt='checkpoints/resnet50-0676ba61.pth',
    teacher_bn='train')
