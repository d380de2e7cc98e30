"""ImageNet: the pairs of the WSLD paper and of MMRazor's model zoo.

    python tools/reproduce.py configs/reproduce/imagenet_wsld.py --jobs 1

Needs ImageNet in data/imagenet and the teachers' weights in checkpoints/, which each config names. Every run uses one
GPU: for several, start the configs with tools/dist_train.sh instead.
"""
title = 'ImageNet: weighted soft labels'
seeds = [0]
# the schedules are meant for batches of 256
options = {'train_dataloader.batch_size': 256, 'train_dataloader.num_workers': 16}

_PAPER = "Zhou et al., ICLR 2021, the authors' protocol"
_MMRAZOR = "MMRazor's model zoo"
_OPENMMLAB = "OpenMMLab's model zoo"


def _cell(method, config, published=None, source=''):
    return dict(method=method, config=f'../{config}_8xb32_in1k.py', published=published, source=source,
                epoch='best' if source == _PAPER else 'last')


rows = [
    dict(name='ResNet-34 → ResNet-18', cells=[
        _cell('student alone', 'baselines/resnet18', 69.90, _OPENMMLAB),
        _cell('KD, τ=1, weight 3', 'kd/kd_resnet34_resnet18', 71.81, _MMRAZOR),
        _cell("WSLD, MMRazor's protocol", 'wsld/wsld_resnet34_resnet18', 71.54, _MMRAZOR),
        _cell("WSLD, the authors' protocol", 'wsld/wsld_resnet34_resnet18_official', 72.04, _PAPER)]),
    dict(name='ResNet-50 → MobileNetV1', cells=[
        _cell("student alone, MMRazor's protocol", 'baselines/mobilenet-v1'),
        _cell("student alone, the authors' protocol", 'baselines/mobilenet-v1_official', 68.87, _PAPER),
        _cell('KD, τ=1, weight 3', 'kd/kd_resnet50_mobilenet-v1'),
        _cell("WSLD, MMRazor's protocol", 'wsld/wsld_resnet50_mobilenet-v1'),
        _cell("WSLD, the authors' protocol", 'wsld/wsld_resnet50_mobilenet-v1_official', 71.52, _PAPER)]),
]
