"""CIFAR-100 as the teacher-free tables train some networks, in batches of 64: lr 0.1·64/128."""
_base_ = './cifar100_bs128.py'

train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [dict(_base_.param_scheduler[0], start_factor=1 / 782), _base_.param_scheduler[1]]
auto_scale_lr = dict(base_batch_size=64)
