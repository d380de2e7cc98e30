"""ResNet18 → MobileNetV2 on CIFAR-100 with KD as the authors' code of Tf-KD computes it.

    python tools/train.py configs/kd/kd_resnet18_mobilenet-v2_1xb128_cifar100.py

Needs the teacher of configs/baselines/resnet18_1xb128_cifar100.py.
Published: 71.05 (best epoch), alone 68.38.
"""
_base_ = ['../_base_/methods/tf_kd_official.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/mobilenet-v2_1xb128_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18_1xb128_cifar100.py'),
    teacher_ckpt='work_dirs/resnet18_1xb128_cifar100/model_best.pth')
