"""The small student taught by a good teacher's soft labels alone, on 1,200 digits: no label is used.

    python tools/train.py configs/baselines/resnet18-w32_digits.py
    python tools/train.py configs/weak/kd_resnet18-w32_resnet18-w8-all_digits.py

The first command trains the teacher. The loss is KD's at τ = 1, so that one learning rate suits all methods compared.
"""
_base_ = ['../kd/kd_resnet18-w32_resnet18-w8_digits.py']
model = dict(hard_weight=0.0, distiller=dict(distill_losses=dict(loss_kd=dict(tau=1.0, loss_weight=1.0))))
train_dataloader = dict(dataset=dict(num_samples=None))
optim_wrapper = dict(optimizer=dict(lr=0.4, weight_decay=5e-3))
train_cfg = dict(max_epochs=15, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=5))
