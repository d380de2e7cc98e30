"""A student of a bad teacher, without labels: it sees the teacher's first k classes, without their order.

    python tools/train.py configs/biased/bad-teacher_resnet18-w16_digits.py
    python tools/train.py configs/biased/kd_bad-teacher_resnet18-w8_digits.py

The first command trains the teacher, on the same 1,200 images. A student with their labels:
configs/weak/resnet18-w8-all_digits.py.
"""
_base_ = ['../weak/kd_resnet18-w32_resnet18-w8-all_digits.py']
model = dict(
    teacher=dict(cfg_path='{{ fileDirname }}/bad-teacher_resnet18-w16_digits.py'),
    teacher_ckpt='work_dirs/bad-teacher_resnet18-w16_digits/model_last.pth',
    distiller=dict(connectors=dict(teacher_logits=dict(type='wsld_plugin.TopClasses', k=3))))
