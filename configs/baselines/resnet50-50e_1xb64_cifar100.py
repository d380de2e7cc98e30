"""ResNet50 stopped after 50 of the 200 epochs: a poorly trained teacher, for De-KD.

    python tools/train.py configs/baselines/resnet50-50e_1xb64_cifar100.py

Needs data/cifar100. Published: 45.82 (Yuan et al.).
"""
_base_ = './resnet50-200e_1xb64_cifar100.py'
train_cfg = dict(max_epochs=50)
