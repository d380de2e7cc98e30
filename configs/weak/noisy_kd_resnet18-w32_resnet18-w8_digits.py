"""Noisy labels, 40 % of 1,200 digits: the soft labels of a teacher trained on the same noise.

    python tools/train.py configs/weak/noisy_resnet18-w32_digits.py
    python tools/train.py configs/weak/noisy_kd_resnet18-w32_resnet18-w8_digits.py

The first command trains the teacher. 0.1 · CE + 0.9 · KD at τ = 1.
"""
_base_ = ['./kd_resnet18-w32_resnet18-w8-all_digits.py']
model = dict(
    teacher=dict(cfg_path='{{ fileDirname }}/noisy_resnet18-w32_digits.py'),
    teacher_ckpt='work_dirs/noisy_resnet18-w32_digits/model_last.pth',
    hard_weight=0.1,
    distiller=dict(distill_losses=dict(loss_kd=dict(loss_weight=0.9))))
train_dataloader = dict(dataset=dict(
    _delete_=True, type='wsld_plugin.NoisyLabels', kind='symmetric', rate=0.4,
    dataset=dict(type='wsld_plugin.Digits', split='train', pipeline=_base_.train_pipeline)))
