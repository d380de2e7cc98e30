"""ResNet18 of 1 epoch → MobileNetV2 on CIFAR-100: De-KD, a poorly trained teacher.

    python tools/train.py configs/tf_kd/de-kd_resnet18-1e_mobilenet-v2_1xb128_cifar100.py

Needs the teacher of configs/baselines/resnet18-1e_1xb128_cifar100.py.
Published: 70.65 (best epoch), alone 68.38.
"""
_base_ = ['../_base_/methods/tf_kd_official.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/mobilenet-v2_1xb128_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18-1e_1xb128_cifar100.py'),
    teacher_ckpt='work_dirs/resnet18-1e_1xb128_cifar100/model_best.pth')
