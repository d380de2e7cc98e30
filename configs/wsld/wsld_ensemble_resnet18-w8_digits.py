"""Two ResNet-18, averaged → a narrow one, on 100 handwritten digits, with WSLD.

    python tools/train.py configs/baselines/resnet18-w32_digits.py
    python tools/train.py configs/baselines/resnet18-w16_digits.py
    python tools/train.py configs/wsld/wsld_ensemble_resnet18-w8_digits.py

The first two commands train the teachers. The soft label is the mean of their probabilities.
"""
_base_ = './wsld_resnet18-w32_resnet18-w8_digits.py'
model = dict(
    teacher=dict(
        _delete_=True,
        type='wsld_plugin.EnsembleTeacher',
        members=[
            dict(model=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18-w32_digits.py'),
                 checkpoint='work_dirs/resnet18-w32_digits/model_last.pth'),
            dict(model=dict(cfg_path='{{ fileDirname }}/../baselines/resnet18-w16_digits.py'),
                 checkpoint='work_dirs/resnet18-w16_digits/model_last.pth'),
        ]),
    teacher_ckpt=False)
