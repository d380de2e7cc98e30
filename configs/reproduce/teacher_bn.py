"""The teacher's BatchNorm: running statistics (eval, MMRazor) against those of the batch (train, the authors' code).

    python tools/reproduce.py configs/reproduce/teacher_bn.py --rows digits

The row of digits takes minutes on a CPU; the other needs data/cifar100 and a GPU.
"""
title = "The teacher's BatchNorm in eval or in train mode"
seeds = [0, 1, 2, 3, 4]

_MODES = dict(eval={}, train={'model.teacher_bn': 'train'})


def _row(name, configs):
    return dict(name=name, cells=[
        dict(method=f'{method}, {mode}', config=f'../{config}', options=options)
        for method, config in configs.items() for mode, options in _MODES.items()])


rows = [
    _row('digits', dict(KD='kd/kd_resnet18-w32_resnet18-w8_digits.py',
                        WSLD='wsld/wsld_resnet18-w32_resnet18-w8_digits.py')),
    _row('resnet56 → resnet20', dict(KD='kd/kd_resnet56_resnet20_1xb64_cifar100.py',
                                     WSLD='wsld/wsld_resnet56_resnet20_1xb64_cifar100.py')),
]
