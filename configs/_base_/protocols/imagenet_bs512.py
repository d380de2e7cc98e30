"""ImageNet as the tables of teacher-free KD train it on 8 GPUs: data, schedule and runtime."""
_base_ = ['../datasets/imagenet_bs64.py', '../schedules/imagenet_bs512.py', '../default_runtime.py']
