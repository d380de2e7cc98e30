"""Regularization samples on handwritten digits: left out, halved, alone; other teachers; other temperatures.

    python tools/reproduce.py configs/reproduce/regularization_samples.py

Needs nothing: scikit-learn ships the images. Each run's soft_label_monitor/ has the counts of
regularization samples of every epoch. Zhou et al., ICLR 2021, do this on CIFAR-100 and ImageNet.
"""
title = 'Handwritten digits: regularization samples'
seeds = [0, 1, 2, 3, 4]

_pair = 'resnet18-w32_resnet18-w8_digits.py'
_kd_samples = 'model.distiller.distill_losses.loss_kd.samples'
_wsld_samples = 'model.distiller.distill_losses.loss_wsld.samples'
_smooth = {'model.teacher_ckpt': 'work_dirs/resnet18-w32-smooth_digits/model_last.pth'}
_tau = 'model.distiller.distill_losses.loss_kd.tau'

rows = [
    dict(name='KD', cells=[
        dict(method='all samples', config=f'../regularization/kd-monitored_{_pair}'),
        dict(method='without regularization samples', config=f'../regularization/kd-filtered_{_pair}'),
        dict(method='regularization samples halved', config=f'../regularization/kd-filtered_{_pair}',
             options={f'{_kd_samples}.regularization': 0.5}),
        dict(method='only regularization samples', config=f'../regularization/kd-filtered_{_pair}',
             options={f'{_kd_samples}.regularization': 1.0, f'{_kd_samples}.others': 0.0})]),
    dict(name='WSLD', cells=[
        dict(method='all samples', config=f'../regularization/wsld-monitored_{_pair}'),
        dict(method='without regularization samples', config=f'../regularization/wsld-filtered_{_pair}'),
        dict(method='regularization samples halved', config=f'../regularization/wsld-filtered_{_pair}',
             options={f'{_wsld_samples}.regularization': 0.5}),
        dict(method='only regularization samples', config=f'../regularization/wsld-filtered_{_pair}',
             options={f'{_wsld_samples}.regularization': 1.0, f'{_wsld_samples}.others': 0.0})]),
    dict(name='teacher with label smoothing', cells=[
        dict(method='teacher', config='../regularization/resnet18-w32-smooth_digits.py'),
        dict(method='KD', config=f'../regularization/kd-monitored_{_pair}', options=_smooth),
        dict(method='WSLD', config=f'../regularization/wsld-monitored_{_pair}', options=_smooth)]),
    dict(name='temperature of KD', cells=[
        dict(method=f'τ = {tau}', config=f'../regularization/kd-monitored_{_pair}', options={_tau: float(tau)})
        for tau in (1, 2, 8, 16)]),
]
