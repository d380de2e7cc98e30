"""MobileNetV2 on CIFAR-100 with label smoothing, the authors' code of Tf-KD.

    python tools/train.py configs/tf_kd/lsr_mobilenet-v2_1xb128_cifar100.py

Needs data/cifar100.
Published: 69.32 (best epoch), alone 68.38.
"""
_base_ = ['../_base_/methods/label_smoothing_official.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/mobilenet-v2_1xb128_cifar100.py'),
    teacher=dict(num_classes=100))
