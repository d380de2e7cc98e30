"""Noisy and few labels on handwritten digits.

    python tools/reproduce.py configs/reproduce/weak_supervision.py

Needs nothing: scikit-learn ships the images. Nothing was published for these networks. Every row's students see the
same 1,200 images; the noise and the choice of the labelled images are the same for all seeds.
"""
title = 'Handwritten digits with weak labels'
seeds = [0, 1, 2, 3, 4]

_ASYMMETRIC = {'train_dataloader.dataset.kind': 'asymmetric'}

rows = [
    dict(name='clean', cells=[
        dict(method='student alone', config='../weak/resnet18-w8-all_digits.py')]),
    dict(name='symmetric noise, 40 %', cells=[
        dict(method='student alone', config='../weak/noisy_resnet18-w8_digits.py'),
        dict(method='label smoothing', config='../weak/noisy_lsr_resnet18-w8_digits.py'),
        dict(method='teacher, on the same noise', config='../weak/noisy_resnet18-w32_digits.py'),
        dict(method='KD', config='../weak/noisy_kd_resnet18-w32_resnet18-w8_digits.py'),
        dict(method='WSLD', config='../weak/noisy_wsld_resnet18-w32_resnet18-w8_digits.py')]),
    dict(name='asymmetric noise, 40 %', cells=[
        dict(method='student alone', config='../weak/noisy_resnet18-w8_digits.py', options=_ASYMMETRIC),
        dict(method='label smoothing', config='../weak/noisy_lsr_resnet18-w8_digits.py', options=_ASYMMETRIC),
        dict(method='teacher, on the same noise', config='../weak/asymmetric_resnet18-w32_digits.py'),
        dict(method='KD', config='../weak/asymmetric_kd_resnet18-w32_resnet18-w8_digits.py'),
        dict(method='WSLD', config='../weak/asymmetric_wsld_resnet18-w32_resnet18-w8_digits.py')]),
    dict(name='100 of 1,200 labels', cells=[
        dict(method='student alone, on the 100', config='../weak/few_resnet18-w8_digits.py'),
        dict(method='round 1', config='../weak/few-round1_resnet18-w8_digits.py'),
        dict(method='round 2', config='../weak/few-round2_resnet18-w8_digits.py')]),
]
