"""A small ResNet on 100 handwritten digits with Tf-KD_self: the teacher is the same network, trained alone.

    python tools/train.py configs/baselines/resnet18-w8_digits.py
    python tools/train.py configs/tf_kd/tf-kd-self_resnet18-w8_digits.py

The first command trains the teacher. The loss is that of plain KD.
Measured: 90.95 ± 1.94 (n = 5), the student alone 89.65 ± 2.46, see docs/results.md.
"""
_base_ = '../kd/kd_resnet18-w32_resnet18-w8_digits.py'
model = dict(
    teacher=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18-w8_digits.py'),
    teacher_ckpt='work_dirs/resnet18-w8_digits/model_last.pth')
optim_wrapper = dict(optimizer=dict(lr=0.1))  # the best of 0.05, 0.1, 0.2 and 0.4
