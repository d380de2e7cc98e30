"""MobileNetV2 on CIFAR-100 with Tf-KD_self, the authors' code: the teacher is the same network, trained alone.

    python tools/train.py configs/tf_kd/tf-kd-self_mobilenet-v2_1xb128_cifar100.py

Needs the teacher of configs/baselines/mobilenet-v2_1xb128_cifar100.py.
Published: 70.96 (best epoch), alone 68.38.
"""
_base_ = ['../_base_/methods/tf_kd_official.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/mobilenet-v2_1xb128_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/mobilenet-v2_1xb128_cifar100.py'),
    teacher_ckpt='work_dirs/mobilenet-v2_1xb128_cifar100/model_best.pth')
