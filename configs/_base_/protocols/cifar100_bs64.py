"""CIFAR-100 as the tables of CRD and WSLD train it: data, schedule and runtime."""
_base_ = ['../datasets/cifar100_bs64.py', '../schedules/cifar100_bs64.py', '../default_runtime.py']

default_hooks = dict(checkpoint=dict(interval=10))  # and the best epoch, whenever it is
