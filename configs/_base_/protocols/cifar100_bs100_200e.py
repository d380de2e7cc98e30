"""CIFAR-100 as the teacher-free tables train some networks, in batches of 100: lr 0.1·100/128."""
_base_ = './cifar100_bs128.py'

train_dataloader = dict(batch_size=100)
optim_wrapper = dict(optimizer=dict(lr=0.078125))
param_scheduler = [dict(_base_.param_scheduler[0], start_factor=1 / 500), _base_.param_scheduler[1]]
auto_scale_lr = dict(base_batch_size=100)
