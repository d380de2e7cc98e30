"""ResNet-34 → ResNet-18 on ImageNet with WSLD, the protocol of the authors' code.

    bash tools/dist_train.sh configs/wsld/wsld_resnet34_resnet18_official_8xb32_in1k.py 8

Needs ImageNet in data/imagenet/{train,val} and torchvision's ResNet-34 (73.31 %), which torchvision downloads
from https://download.pytorch.org/models/resnet34-b627a593.pth; its names are converted on loading.
Unlike MMRazor's protocol: the teacher's BatchNorm uses the statistics of each GPU's batch; Nesterov momentum; 101
epochs; Pillow resizes the images; no incomplete batch; first weights as torchvision's; the best epoch counts.
Published: 72.04 (paper); 71.6 (a re-run of the authors' code, second-hand).
"""
_base_ = ['../_base_/methods/wsld.py', '../_base_/protocols/imagenet_bs256_official.py']
model = dict(
    architecture=dict(
        cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py',
        backbone=dict(zero_init_residual=False),
        head=dict(init_cfg=None)),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet34_8xb32_in1k.py'),
    teacher_ckpt='checkpoints/resnet34-b627a593.pth',
    teacher_bn='train')
