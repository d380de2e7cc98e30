"""A wide ResNet-18 → one a quarter as wide, on 100 handwritten digits, with WSLD from cached soft labels.

    python tools/train.py configs/baselines/resnet18-w32_digits.py
    python tools/train.py configs/wsld/wsld_cached_resnet18-w32_resnet18-w8_digits.py

The first command trains the teacher, the second makes the cache, 2.8 kB, and trains with it.
Measured: 92.76 ± 1.29 (n = 5), with the teacher itself 91.19 ± 1.52, see docs/results.md.
The two differ by rounding alone.
"""
_base_ = [
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits.py',
    '../_base_/methods/wsld_cached.py',
    '../_base_/digits_runtime.py',
]
model = dict(
    architecture=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18-w8_digits.py'),
    teacher=dict(
        model=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18-w32_digits.py'),
        checkpoint='work_dirs/resnet18-w32_digits/model_last.pth',
        make='missing'),
    distiller=dict(distill_losses=dict(loss_wsld=dict(tau=4.0, loss_weight=2.25))))
train_dataloader = dict(dataset=dict(num_samples=100))
optim_wrapper = dict(optimizer=dict(lr=0.05))  # as with the teacher itself
