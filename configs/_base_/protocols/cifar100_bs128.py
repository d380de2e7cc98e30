"""CIFAR-100 as the tables of teacher-free KD train it: data, schedule and runtime."""
_base_ = ['../datasets/cifar100_bs128.py', '../schedules/cifar100_bs128.py', '../default_runtime.py']

default_hooks = dict(checkpoint=dict(interval=10))  # and the best epoch, whenever it is
