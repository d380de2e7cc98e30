"""MobileNetV2 → ResNet18 on CIFAR-100: Re-KD, the smaller network teaches the larger.

    python tools/train.py configs/tf_kd/re-kd_mobilenet-v2_resnet18_1xb128_cifar100.py

Needs the teacher of configs/baselines/mobilenet-v2_1xb128_cifar100.py.
Published: 77.28 (best epoch), alone 75.87.
"""
_base_ = ['../_base_/methods/tf_kd_official.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18_1xb128_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/mobilenet-v2_1xb128_cifar100.py'),
    teacher_ckpt='work_dirs/mobilenet-v2_1xb128_cifar100/model_best.pth',
    hard_weight=0.4,
    distiller=dict(distill_losses=dict(loss_kd=dict(loss_weight=0.6))))
