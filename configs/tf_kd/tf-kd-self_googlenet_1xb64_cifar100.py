"""GoogLeNet on CIFAR-100 with Tf-KD_self, the authors' code: the teacher is the same network, trained alone.

    python tools/train.py configs/tf_kd/tf-kd-self_googlenet_1xb64_cifar100.py

Needs the teacher of configs/baselines/googlenet_1xb64_cifar100.py.
Published: 80.17 (best epoch), alone 78.15.
"""
_base_ = ['../_base_/methods/tf_kd_official.py', '../_base_/protocols/cifar100_bs64_200e.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/googlenet_1xb64_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/googlenet_1xb64_cifar100.py'),
    teacher_ckpt='work_dirs/googlenet_1xb64_cifar100/model_best.pth',
    hard_weight=0.6,
    distiller=dict(distill_losses=dict(loss_kd=dict(tau=20.0, loss_weight=0.4, multiplier=50.0))))
