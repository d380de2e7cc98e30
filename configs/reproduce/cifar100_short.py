"""CIFAR-100 on a CPU: resnet20 → resnet8, the tables' schedule shortened from 240 to 10 epochs, bfloat16.

    python tools/reproduce.py configs/reproduce/cifar100_short.py

Needs data/cifar100. Nothing was published for this setting.
"""
title = 'CIFAR-100: resnet20 → resnet8, 10 epochs instead of 240'
seeds = [0, 1, 2]
options = {
    'train_cfg.max_epochs': 10,
    'param_scheduler.milestones': [6, 8, 9],
    'optim_wrapper.type': 'wsld_plugin.AutocastOptimWrapper',
    # one process for each run: there is one core for each
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'default_hooks.checkpoint.interval': 1,
}
rows = [dict(name='resnet20 → resnet8', cells=[
    dict(method='teacher', config='../baselines/resnet20_1xb64_cifar100.py'),
    dict(method='student alone', config='../baselines/resnet8_1xb64_cifar100.py'),
    dict(method='KD', config='../kd/kd_resnet20_resnet8_1xb64_cifar100.py'),
    dict(method='WSLD', config='../wsld/wsld_resnet20_resnet8_1xb64_cifar100.py'),
    dict(method='Tf-KD_reg', config='../tf_kd/tf-kd-reg_resnet8_1xb64_cifar100.py'),
])]
