"""ResNet18 on CIFAR-100 with label smoothing, the authors' code of Tf-KD.

    python tools/train.py configs/tf_kd/lsr_resnet18_1xb128_cifar100.py

Needs data/cifar100.
Published: 77.26 (best epoch), alone 75.87.
"""
_base_ = ['../_base_/methods/label_smoothing_official.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18_1xb128_cifar100.py'),
    teacher=dict(num_classes=100))
