"""A small ResNet on 100 handwritten digits with Tf-KD_reg: a virtual teacher, no network.

    python tools/train.py configs/tf_kd/tf-kd-reg_resnet18-w8_digits.py

Needs nothing: scikit-learn ships the images.
Measured: 89.72 ± 2.02 (n = 5), the student alone 89.65 ± 2.46, see docs/results.md.
"""
_base_ = [
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits.py',
    '../_base_/methods/tf_kd_reg_official.py',
    '../_base_/digits_runtime.py',
]
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18-w8_digits.py'),
    teacher=dict(num_classes=10),
    hard_weight=0.9,
    distiller=dict(distill_losses=dict(loss_kd=dict(tau=20.0, loss_weight=0.1, multiplier=10.0))))
train_dataloader = dict(dataset=dict(num_samples=100))
optim_wrapper = dict(optimizer=dict(lr=0.4))  # the best of 0.1, 0.2 and 0.4
