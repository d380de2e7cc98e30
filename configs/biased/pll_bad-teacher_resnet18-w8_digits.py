"""A student of a bad teacher, without labels: the teacher's first three classes are its candidate set.

    python tools/train.py configs/biased/bad-teacher_resnet18-w16_digits.py
    python tools/train.py configs/biased/pll_bad-teacher_resnet18-w8_digits.py

The first command trains the teacher, on the same 1,200 images. A student with their labels:
configs/weak/resnet18-w8-all_digits.py; one with KD's loss: kd_bad-teacher_resnet18-w8_digits.py.
"""
_base_ = ['./kd_bad-teacher_resnet18-w8_digits.py']
model = dict(distiller=dict(
    distill_losses=dict(_delete_=True, loss_partial=dict(type='wsld_plugin.PartialLabelLoss')),
    loss_forward_mappings=dict(_delete_=True, loss_partial=dict(
        student=dict(recorder='logits', from_student=True),
        teacher=dict(recorder='logits', from_student=False, connector='teacher_logits')))))
