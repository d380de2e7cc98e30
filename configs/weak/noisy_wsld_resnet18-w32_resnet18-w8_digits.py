"""Noisy labels, 40 % of 1,200 digits: WSLD from a teacher trained on the same noise.

    python tools/train.py configs/weak/noisy_resnet18-w32_digits.py
    python tools/train.py configs/weak/noisy_wsld_resnet18-w32_resnet18-w8_digits.py

The first command trains the teacher. CE + 2.25 · WSLD at τ = 1. The gradient is up to 3.25 times that of CE: the
learning rate is smaller and the weight decay larger by as much.
"""
_base_ = ['../wsld/wsld_resnet18-w32_resnet18-w8_digits.py']
model = dict(
    teacher=dict(cfg_path='{{ fileDirname }}/noisy_resnet18-w32_digits.py'),
    teacher_ckpt='work_dirs/noisy_resnet18-w32_digits/model_last.pth',
    distiller=dict(distill_losses=dict(loss_wsld=dict(tau=1.0))))
train_dataloader = dict(dataset=dict(
    _delete_=True, type='wsld_plugin.NoisyLabels', kind='symmetric', rate=0.4,
    dataset=dict(type='wsld_plugin.Digits', split='train', pipeline=_base_.train_pipeline)))
optim_wrapper = dict(optimizer=dict(lr=0.125, weight_decay=0.016))
train_cfg = dict(max_epochs=15, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=5))
