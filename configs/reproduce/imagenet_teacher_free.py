"""ImageNet: label smoothing and Tf-KD_reg beside plain training.

    python tools/reproduce.py configs/reproduce/imagenet_teacher_free.py --jobs 1

Needs ImageNet in data/imagenet. Every run uses one GPU: for several, start the configs with tools/dist_train.sh.
"""
title = 'ImageNet: teacher-free KD, 90 epochs'
seeds = [0]
# the schedule is meant for batches of 512
options = {'train_dataloader.batch_size': 512, 'train_dataloader.num_workers': 16}

_SOURCE = 'Yuan et al., Revisiting Knowledge Distillation via Label Smoothing Regularization, CVPR 2020'


def _row(name, network, published):
    configs = dict(alone='baselines/', **{'label smoothing': 'tf_kd/lsr_', 'Tf-KD_reg': 'tf_kd/tf-kd-reg_'})
    return dict(name=name, cells=[
        dict(method=method, config=f'../{config}{network}_8xb64_in1k.py', published=figure, source=_SOURCE,
             epoch='best')
        for (method, config), figure in zip(configs.items(), published, strict=True)])


rows = [
    _row('ResNet-18', 'resnet18', (69.84, 70.02, 70.24)),
    _row('ResNet-50', 'resnet50', (75.77, 76.38, 76.42)),
]
