"""ResNet50 of 50 epochs → ResNet18 on CIFAR-100: De-KD, a poorly trained teacher.

    python tools/train.py configs/tf_kd/de-kd_resnet50-50e_resnet18_1xb64_cifar100.py

Needs the teacher of configs/baselines/resnet50-50e_1xb64_cifar100.py.
Published: 77.23 (best epoch), alone 75.87.
"""
_base_ = ['../_base_/methods/tf_kd_official.py', '../_base_/protocols/cifar100_bs64_200e.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18_1xb128_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet50-50e_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/resnet50-50e_1xb64_cifar100/model_best.pth',
    hard_weight=0.4,
    distiller=dict(distill_losses=dict(loss_kd=dict(loss_weight=0.6))))
