"""ResNet50 → ResNet18 on CIFAR-100 with KD as the authors' code of Tf-KD computes it.

    python tools/train.py configs/kd/kd_resnet50_resnet18_1xb64_cifar100.py

Needs the teacher of configs/baselines/resnet50-200e_1xb64_cifar100.py.
Published: 77.19 (best epoch), alone 75.87.
"""
_base_ = ['../_base_/methods/tf_kd_official.py', '../_base_/protocols/cifar100_bs64_200e.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18_1xb128_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet50-200e_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/resnet50-200e_1xb64_cifar100/model_best.pth',
    hard_weight=0.4,
    distiller=dict(distill_losses=dict(loss_kd=dict(loss_weight=0.6))))
