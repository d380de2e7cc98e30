"""Few labels, 100 of 1,200 digits, second round: the student of the first one is the teacher.

    python tools/train.py configs/weak/few_resnet18-w8_digits.py
    python tools/train.py configs/weak/few-round1_resnet18-w8_digits.py
    python tools/train.py configs/weak/few-round2_resnet18-w8_digits.py

More rounds: copies of this file that name the round before.
"""
_base_ = ['./few-round1_resnet18-w8_digits.py']
model = dict(teacher_ckpt='work_dirs/few-round1_resnet18-w8_digits/student_last.pth')
