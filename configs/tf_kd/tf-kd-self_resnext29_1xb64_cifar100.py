"""ResNeXt29 on CIFAR-100 with Tf-KD_self, the authors' code: the teacher is the same network, trained alone.

    python tools/train.py configs/tf_kd/tf-kd-self_resnext29_1xb64_cifar100.py

Needs the teacher of configs/baselines/resnext29_1xb64_cifar100.py.
Published: 82.08 (best epoch), alone 81.03.
"""
_base_ = ['../_base_/methods/tf_kd_official.py', '../_base_/protocols/cifar100_bs64_200e.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnext29_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnext29_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/resnext29_1xb64_cifar100/model_best.pth',
    hard_weight=0.1,
    distiller=dict(distill_losses=dict(loss_kd=dict(tau=20.0, loss_weight=0.9, multiplier=100.0))))
