"""Asymmetric label noise, 40 % of 1,200 digits: WSLD from a teacher trained on the same noise.

    python tools/train.py configs/weak/asymmetric_resnet18-w32_digits.py
    python tools/train.py configs/weak/asymmetric_wsld_resnet18-w32_resnet18-w8_digits.py

The first command trains the teacher. CE + 2.25 · WSLD at τ = 1.
"""
_base_ = ['./noisy_wsld_resnet18-w32_resnet18-w8_digits.py']
model = dict(
    teacher=dict(cfg_path='{{ fileDirname }}/asymmetric_resnet18-w32_digits.py'),
    teacher_ckpt='work_dirs/asymmetric_resnet18-w32_digits/model_last.pth')
train_dataloader = dict(dataset=dict(kind='asymmetric'))
