"""GoogLeNet on CIFAR-100 with label smoothing, the authors' code of Tf-KD.

    python tools/train.py configs/tf_kd/lsr_googlenet_1xb64_cifar100.py

Needs data/cifar100.
Published: 79.07 (best epoch), alone 78.15.
"""
_base_ = ['../_base_/methods/label_smoothing_official.py', '../_base_/protocols/cifar100_bs64_200e.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/googlenet_1xb64_cifar100.py'),
    teacher=dict(num_classes=100))
