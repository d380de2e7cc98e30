"""ResNet18 stopped after 1 of the 200 epochs: a poorly trained teacher, for De-KD.

    python tools/train.py configs/baselines/resnet18-1e_1xb128_cifar100.py

Needs data/cifar100. Published: 15.48 (Yuan et al.).
"""
_base_ = './resnet18_1xb128_cifar100.py'
train_cfg = dict(max_epochs=1)
