"""resnet32x4 → ShuffleNetV2 on CIFAR-100 with KD.

    python tools/train.py configs/kd/kd_resnet32x4_shufflenet-v2_1xb64_cifar100.py

Needs the teacher of configs/baselines/resnet32x4_1xb64_cifar100.py.
Published: 74.45 (Tian et al., CRD), alone 71.82.
"""
_base_ = ['../_base_/methods/kd_crd.py', '../_base_/protocols/cifar100_bs64.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/shufflenet-v2_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet32x4_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/resnet32x4_1xb64_cifar100/model_last.pth')
optim_wrapper = dict(optimizer=dict(lr=0.01))
