"""ResNet18 of 1 epoch → ShuffleNetV2 on CIFAR-100: De-KD, a poorly trained teacher.

    python tools/train.py configs/tf_kd/de-kd_resnet18-1e_shufflenet-v2_1xb128_cifar100.py

Needs the teacher of configs/baselines/resnet18-1e_1xb128_cifar100.py.
Published: 71.82 (best epoch), alone 70.34.
"""
_base_ = ['../_base_/methods/tf_kd_official.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/shufflenet-v2_1xb128_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18-1e_1xb128_cifar100.py'),
    teacher_ckpt='work_dirs/resnet18-1e_1xb128_cifar100/model_best.pth')
