"""Handwritten digits: every method, minutes on a CPU.

    python tools/reproduce.py configs/reproduce/digits.py

Needs nothing: scikit-learn ships the images. Nothing was published for these networks.
"""
title = 'Handwritten digits: students of 100 labelled images'
seeds = [0, 1, 2, 3, 4]

rows = [
    dict(name='small student', cells=[
        dict(method='teacher', config='../baselines/resnet18-w32_digits.py'),
        dict(method='student alone', config='../baselines/resnet18-w8_digits.py'),
        dict(method='KD', config='../kd/kd_resnet18-w32_resnet18-w8_digits.py'),
        dict(method='WSLD', config='../wsld/wsld_resnet18-w32_resnet18-w8_digits.py'),
        dict(method='WSLD, cached', config='../wsld/wsld_cached_resnet18-w32_resnet18-w8_digits.py'),
        dict(method='WSLD, cached, top 3', config='../wsld/wsld_cached_resnet18-w32_resnet18-w8_digits.py',
             options={'model.teacher.top_k': 3}),
        dict(method='KD, two teachers', config='../kd/kd_ensemble_resnet18-w8_digits.py'),
        dict(method='WSLD, two teachers', config='../wsld/wsld_ensemble_resnet18-w8_digits.py'),
        dict(method='Tf-KD_self', config='../tf_kd/tf-kd-self_resnet18-w8_digits.py'),
        dict(method='Tf-KD_reg', config='../tf_kd/tf-kd-reg_resnet18-w8_digits.py'),
        dict(method='label smoothing', config='../tf_kd/lsr_resnet18-w8_digits.py'),
        dict(method='poorly trained teacher', config='../baselines/resnet18-w32-poor_digits.py'),
        dict(method='De-KD', config='../tf_kd/de-kd_resnet18-w32-poor_resnet18-w8_digits.py')]),
    dict(name='large student', cells=[
        dict(method='student alone', config='../baselines/resnet18-w32-few_digits.py'),
        dict(method='Re-KD', config='../tf_kd/re-kd_resnet18-w8_resnet18-w32_digits.py')]),
]
