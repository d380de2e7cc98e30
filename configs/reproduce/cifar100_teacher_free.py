"""CIFAR-100: the tables of teacher-free KD on their whole schedule, as the authors' code computes them.

    python tools/reproduce.py configs/reproduce/cifar100_teacher_free.py --jobs 4

Needs data/cifar100 and a GPU: 38 networks of up to 200 epochs a seed. One network: --rows ResNet18.
"""
title = 'CIFAR-100: teacher-free KD, 200 epochs'
seeds = [0, 1, 2]

_SOURCE = 'Yuan et al., Revisiting Knowledge Distillation via Label Smoothing Regularization, CVPR 2020'


def _cell(method, config, published):
    return dict(method=method, config=f'../{config}_cifar100.py', published=published, source=_SOURCE,
                epoch='best')


rows = [
    dict(name='MobileNetV2', cells=[
        _cell('alone', 'baselines/mobilenet-v2_1xb128', 68.38),
        _cell('Tf-KD_self', 'tf_kd/tf-kd-self_mobilenet-v2_1xb128', 70.96),
        _cell('Tf-KD_reg', 'tf_kd/tf-kd-reg_mobilenet-v2_1xb128', 70.88),
        _cell('label smoothing', 'tf_kd/lsr_mobilenet-v2_1xb128', 69.32),
        _cell('KD from ResNet18', 'kd/kd_resnet18_mobilenet-v2_1xb128', 71.05),
        _cell('De-KD from ResNet18 of 1 epoch', 'tf_kd/de-kd_resnet18-1e_mobilenet-v2_1xb128', 70.65),
        _cell('De-KD from ResNet50 of 50 epochs', 'tf_kd/de-kd_resnet50-50e_mobilenet-v2_1xb128', 71.45)]),
    dict(name='ShuffleNetV2', cells=[
        _cell('alone', 'baselines/shufflenet-v2_1xb128', 70.34),
        _cell('Tf-KD_self', 'tf_kd/tf-kd-self_shufflenet-v2_1xb128', 72.23),
        _cell('Tf-KD_reg', 'tf_kd/tf-kd-reg_shufflenet-v2_1xb128', 72.09),
        _cell('label smoothing', 'tf_kd/lsr_shufflenet-v2_1xb128', 70.83),
        _cell('KD from ResNet18', 'kd/kd_resnet18_shufflenet-v2_1xb128', 72.05),
        _cell('De-KD from ResNet18 of 1 epoch', 'tf_kd/de-kd_resnet18-1e_shufflenet-v2_1xb128', 71.82),
        _cell('De-KD from ResNet50 of 50 epochs', 'tf_kd/de-kd_resnet50-50e_shufflenet-v2_1xb128', 72.11)]),
    dict(name='ResNet18', cells=[
        _cell('alone', 'baselines/resnet18_1xb128', 75.87),
        _cell('Tf-KD_self', 'tf_kd/tf-kd-self_resnet18_1xb128', 77.10),
        _cell('Tf-KD_reg', 'tf_kd/tf-kd-reg_resnet18_1xb128', 77.36),
        _cell('label smoothing', 'tf_kd/lsr_resnet18_1xb128', 77.26),
        _cell('KD from ResNet50', 'kd/kd_resnet50_resnet18_1xb64', 77.19),
        _cell('Re-KD from MobileNetV2', 'tf_kd/re-kd_mobilenet-v2_resnet18_1xb128', 77.28),
        _cell('Re-KD from ShuffleNetV2', 'tf_kd/re-kd_shufflenet-v2_resnet18_1xb128', 77.35),
        _cell('De-KD from ResNet50 of 50 epochs', 'tf_kd/de-kd_resnet50-50e_resnet18_1xb64', 77.23)]),
    dict(name='ResNet50', cells=[
        _cell('alone', 'baselines/resnet50-200e_1xb64', 78.16),
        _cell('Re-KD from MobileNetV2', 'tf_kd/re-kd_mobilenet-v2_resnet50_1xb128', 79.30),
        _cell('Re-KD from ShuffleNetV2', 'tf_kd/re-kd_shufflenet-v2_resnet50_1xb128', 79.43)]),
    dict(name='GoogLeNet', cells=[
        _cell('alone', 'baselines/googlenet_1xb64', 78.15),
        _cell('Tf-KD_self', 'tf_kd/tf-kd-self_googlenet_1xb64', 80.17),
        _cell('Tf-KD_reg', 'tf_kd/tf-kd-reg_googlenet_1xb64', 79.22),
        _cell('label smoothing', 'tf_kd/lsr_googlenet_1xb64', 79.07),
        _cell('KD from ResNeXt29', 'kd/kd_resnext29_googlenet_1xb64', 78.84)]),
    dict(name='DenseNet121', cells=[
        _cell('alone', 'baselines/densenet121_1xb128', 79.04),
        _cell('Tf-KD_self', 'tf_kd/tf-kd-self_densenet121_1xb100', 80.26)]),
    dict(name='ResNeXt29 8×64d', cells=[
        _cell('alone', 'baselines/resnext29_1xb64', 81.03),
        _cell('Tf-KD_self', 'tf_kd/tf-kd-self_resnext29_1xb64', 82.08),
        _cell('Re-KD from MobileNetV2', 'tf_kd/re-kd_mobilenet-v2_resnext29_1xb64', 81.53),
        _cell('Re-KD from ResNet18', 'tf_kd/re-kd_resnet18_resnext29_1xb64', 81.62)]),
    dict(name='poorly trained teachers', cells=[
        _cell('ResNet18 of 1 epoch', 'baselines/resnet18-1e_1xb128', 15.48),
        _cell('ResNet50 of 50 epochs', 'baselines/resnet50-50e_1xb64', 45.82)]),
]
