"""A bad teacher beside a good one, on handwritten digits; the students see soft labels alone.

    python tools/reproduce.py configs/reproduce/biased.py

Needs nothing: scikit-learn ships the images. Nothing was published for these networks. All see the same 1,200 images.
"""
title = 'Handwritten digits: skillful but bad teachers'
seeds = [0, 1, 2, 3, 4]

rows = [
    dict(name='teachers', cells=[
        dict(method='good teacher', config='../baselines/resnet18-w32_digits.py'),
        dict(method='bad teacher', config='../biased/bad-teacher_resnet18-w16_digits.py')]),
    dict(name='students of 1,200 images', cells=[
        dict(method='labels', config='../weak/resnet18-w8-all_digits.py'),
        dict(method='soft labels of the good teacher', config='../weak/kd_resnet18-w32_resnet18-w8-all_digits.py'),
        dict(method='first three of the bad teacher, KD', config='../biased/kd_bad-teacher_resnet18-w8_digits.py'),
        dict(method='first three of the bad teacher, partial-label loss',
             config='../biased/pll_bad-teacher_resnet18-w8_digits.py')]),
]
