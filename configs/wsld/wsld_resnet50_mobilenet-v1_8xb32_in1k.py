"""ResNet-50 → MobileNetV1 on ImageNet with WSLD, MMRazor's protocol.

    bash tools/dist_train.sh configs/wsld/wsld_resnet50_mobilenet-v1_8xb32_in1k.py 8

Needs ImageNet in data/imagenet/{train,val} and OpenMMLab's ResNet-50 (76.55 %), which mmpretrain's model zoo
lists as https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth
Published: nothing with this protocol; 71.52 with the paper's, which is
wsld_resnet50_mobilenet-v1_official_8xb32_in1k.py.
"""
_base_ = [
    '../_base_/datasets/imagenet_bs32.py',
    '../_base_/schedules/imagenet_bs256.py',
    '../_base_/methods/wsld.py',
    '../_base_/default_runtime.py',
]
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/mobilenet-v1_8xb32_in1k.py'),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet50_8xb32_in1k.py'),
    teacher_ckpt='checkpoints/resnet50_8xb32_in1k_20210831-ea4938fc.pth')
