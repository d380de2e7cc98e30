"""ShuffleNetV2 on CIFAR-100 with Tf-KD_self, the authors' code: the teacher is the same network, trained alone.

    python tools/train.py configs/tf_kd/tf-kd-self_shufflenet-v2_1xb128_cifar100.py

Needs the teacher of configs/baselines/shufflenet-v2_1xb128_cifar100.py.
Published: 72.23 (best epoch), alone 70.34.
"""
_base_ = ['../_base_/methods/tf_kd_official.py', '../_base_/protocols/cifar100_bs128.py']
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/shufflenet-v2_1xb128_cifar100.py'),
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/shufflenet-v2_1xb128_cifar100.py'),
    teacher_ckpt='work_dirs/shufflenet-v2_1xb128_cifar100/model_best.pth')
