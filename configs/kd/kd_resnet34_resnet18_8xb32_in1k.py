"""ResNet-34 → ResNet-18 on ImageNet with plain KD, MMRazor's protocol.

    bash tools/dist_train.sh configs/kd/kd_resnet34_resnet18_8xb32_in1k.py 8

Needs ImageNet in data/imagenet/{train,val} and OpenMMLab's ResNet-34 (73.62 %), which mmpretrain's model zoo
lists as https://download.openmmlab.com/mmclassification/v0/resnet/resnet34_8xb32_in1k_20210831-f257d4e6.pth
Published: 71.81 (MMRazor, this protocol: τ=1, weight 3).
"""
_base_ = [
    '../_base_/datasets/imagenet_bs32.py',
    '../_base_/schedules/imagenet_bs256.py',
    '../_base_/methods/kd.py',
    '../_base_/default_runtime.py',
]
model = dict(
    architecture=dict(cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py'),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet34_8xb32_in1k.py'),
    teacher_ckpt='checkpoints/resnet34_8xb32_in1k_20210831-f257d4e6.pth')
