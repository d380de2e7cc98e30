"""ResNet18 on CIFAR-100 with Tf-KD_self, the authors' code: the teacher is the same network, trained alone.

    python tools/train.py configs/tf_kd/tf-kd-self_resnet18_1xb128_cifar100.py

Needs the teacher of configs/baselines/resnet18_1xb128_cifar100.py.
Published: 77.10 (best epoch), alone 75.87.
"""
_base_ = ['../_base_/methods/tf_kd_official.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18_1xb128_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18_1xb128_cifar100.py'),
    teacher_ckpt='work_dirs/resnet18_1xb128_cifar100/model_best.pth',
    hard_weight=0.05,
    distiller=dict(distill_losses=dict(loss_kd=dict(tau=6.0, loss_weight=0.95, multiplier=50.0))))
