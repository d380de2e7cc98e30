"""RegNetX-400MF → DeiT-tiny on ten classes of ImageNet with WSLD: an example of your own pair.

    python tools/train.py configs/wsld/wsld_regnetx-400mf_deit-tiny_imagenette.py --auto-scale-lr

Needs images in data/imagenette/{train,val}/<wnid>/ and OpenMMLab's RegNetX-400MF, which mmpretrain's model
zoo lists as
https://download.openmmlab.com/mmclassification/v0/regnet/regnetx-400mf_8xb128_in1k_20211213-89bfc226.pth
Mixup, CutMix and the 300 epochs of AdamW are DeiT's. Published: nothing.
"""
_base_ = [
    '../_base_/datasets/imagenette_bs64.py',
    'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py',
    '../_base_/methods/wsld.py',
    '../_base_/default_runtime.py',
]
model = dict(
    architecture=dict(cfg_path='mmpretrain::deit/deit-tiny_4xb256_in1k.py', head=dict(num_classes=10)),
    teacher=dict(cfg_path='mmpretrain::regnet/regnetx-400mf_8xb128_in1k.py'),
    teacher_ckpt='checkpoints/regnetx-400mf_8xb128_in1k_20211213-89bfc226.pth',
    # the teacher's index of each of the student's classes, which are the folder names in sorted order
    distiller=dict(connectors=dict(teacher_logits=dict(
        class_map=[0, 217, 482, 491, 497, 566, 569, 571, 574, 701]))))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'.cls_token': dict(decay_mult=0.0), '.pos_embed': dict(decay_mult=0.0)}),
    clip_grad=dict(max_norm=5.0))
