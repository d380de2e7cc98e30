"""CIFAR-100: the 13 pairs of the CRD and WSLD tables on their whole schedule.

    python tools/reproduce.py configs/reproduce/cifar100_wsld.py --jobs 4

Needs data/cifar100 and a GPU: 41 networks of 240 epochs a seed. One pair: --rows 'resnet56 → resnet20'.
"""
title = 'CIFAR-100: 13 pairs, 240 epochs'
seeds = [0, 1, 2]

_CRD = 'Tian et al., Contrastive Representation Distillation, ICLR 2020'
_WSLD = 'Zhou et al., ICLR 2021, as the author quotes the paper in its issue tracker (means of 5 runs, own teachers)'


def _row(teacher, student, names, published):
    t, s = names

    def cell(method, config, figure, source):
        return dict(method=method, config=f'../{config}_1xb64_cifar100.py', published=figure, source=source)
    return dict(name=f'{teacher} → {student}', cells=[
        cell('teacher', f'baselines/{t}', published[0], _CRD),
        cell('student alone', f'baselines/{s}', published[1], _CRD),
        cell('KD', f'kd/kd_{t}_{s}', published[2], _CRD),
        cell('WSLD', f'wsld/wsld_{t}_{s}', published[3], _WSLD)])


rows = [
    _row('resnet56', 'resnet20', ('resnet56', 'resnet20'), (72.34, 69.06, 70.66, 72.15)),
    _row('resnet110', 'resnet32', ('resnet110', 'resnet32'), (74.31, 71.14, 73.08, 74.12)),
    _row('resnet32x4', 'resnet8x4', ('resnet32x4', 'resnet8x4'), (79.42, 72.50, 73.33, 76.05)),
    _row('resnet110', 'resnet20', ('resnet110', 'resnet20'), (74.31, 69.06, 70.67, None)),
    _row('WRN-40-2', 'WRN-16-2', ('wrn-40-2', 'wrn-16-2'), (75.61, 73.26, 74.92, None)),
    _row('WRN-40-2', 'WRN-40-1', ('wrn-40-2', 'wrn-40-1'), (75.61, 71.98, 73.54, None)),
    _row('vgg13', 'vgg8', ('vgg13', 'vgg8'), (74.64, 70.36, 72.98, None)),
    _row('vgg13', 'MobileNetV2', ('vgg13', 'mobilenet-v2-half'), (74.64, 64.60, 67.37, None)),
    _row('ResNet50', 'MobileNetV2', ('resnet50', 'mobilenet-v2-half'), (79.34, 64.60, 67.35, None)),
    _row('ResNet50', 'vgg8', ('resnet50', 'vgg8'), (79.34, 70.36, 73.81, None)),
    _row('resnet32x4', 'ShuffleNetV1', ('resnet32x4', 'shufflenet-v1'), (79.42, 70.50, 74.07, None)),
    _row('resnet32x4', 'ShuffleNetV2', ('resnet32x4', 'shufflenet-v2'), (79.42, 71.82, 74.45, None)),
    _row('WRN-40-2', 'ShuffleNetV1', ('wrn-40-2', 'shufflenet-v1'), (75.61, 70.50, 74.83, None)),
]
