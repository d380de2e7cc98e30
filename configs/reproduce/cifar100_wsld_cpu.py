"""CIFAR-100: the pairs of cifar100_wsld.py on their whole schedule, on a CPU: bfloat16, one core a run.

    python tools/reproduce.py configs/reproduce/cifar100_wsld_cpu.py --rows 'resnet56 -> resnet20' --jobs 2

Needs data/cifar100. One teacher for all seeds, as in the tables of CRD. On one core of an AMD EPYC (Zen 4) resnet56
takes about 19 hours, resnet20 with it as its teacher 10, and alone 7. The same command resumes an interrupted table.
"""
_base_ = './cifar100_wsld.py'
title = 'CIFAR-100: 240 epochs in bfloat16 on a CPU'
teachers = 1
options = {
    'accelerate.amp': 'bf16',
    # one process for each run: there is one core for each
    'accelerate.resident': True,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'default_hooks.checkpoint.interval': 1,
    # the best epoch comes after the first step of the learning rate
    'train_cfg.val_interval': 10,
    'train_cfg.dynamic_intervals': [(150, 1)],
}
