"""Handwritten digits: bias and variance of a student of 100 images, alone and with soft labels.

    python tools/bias_variance.py configs/bias_variance/digits.py

Needs nothing: scikit-learn ships the images.
"""
title = 'Handwritten digits: students of 100 labelled images'
parts = 12       # of the 1,200 training images
size = 100       # images of each
models = 6
teachers = 2     # on all 1,200 images, three students to each
every = 20       # epochs between two validations
options = {'train_dataloader.dataset.num_samples': None}  # the parts say which images

_SHORT = {'train_cfg.max_epochs': 100}  # of 200; the teachers keep theirs
_KD = '../kd/kd_resnet18-w32_resnet18-w8_digits.py'
_WSLD = '../wsld/wsld_resnet18-w32_resnet18-w8_digits.py'


def _at(loss, tau, lr):
    # the gradient of a soft loss grows with τ, so the learning rate falls with it
    return {f'model.distiller.distill_losses.{loss}.tau': tau, 'optim_wrapper.optimizer.lr': lr * 4 / tau,
            **_SHORT}


rows = [
    dict(name='no teacher', cells=[
        dict(method='hard labels', config='../baselines/resnet18-w8_digits.py', options=_SHORT),
        dict(method='label smoothing', config='../tf_kd/lsr_resnet18-w8_digits.py', options=_SHORT)]),
    dict(name='KD', cells=[
        dict(method=f'τ = {tau:g}', tau=tau, config=_KD, options=_at('loss_kd', tau, .1))
        for tau in (1., 2., 4., 8.)]),
    dict(name='WSLD', cells=[
        dict(method=f'τ = {tau:g}', tau=tau, config=_WSLD, options=_at('loss_wsld', tau, .05))
        for tau in (2., 4.)]),
    # its teacher has the student's architecture, and is trained on the student's images only
    dict(name='Tf-KD_self', cells=[
        dict(method='τ = 4', tau=4., config='../tf_kd/tf-kd-self_resnet18-w8_digits.py', teacher='part',
             options=_SHORT)]),
]
