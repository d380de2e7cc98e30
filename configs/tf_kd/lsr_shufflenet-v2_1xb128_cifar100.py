"""ShuffleNetV2 on CIFAR-100 with label smoothing, the authors' code of Tf-KD.

    python tools/train.py configs/tf_kd/lsr_shufflenet-v2_1xb128_cifar100.py

Needs data/cifar100.
Published: 70.83 (best epoch), alone 70.34.
"""
_base_ = ['../_base_/methods/label_smoothing_official.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/shufflenet-v2_1xb128_cifar100.py'),
    teacher=dict(num_classes=100))
