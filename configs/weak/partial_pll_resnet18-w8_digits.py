"""Partial labels of 1,200 digits with the partial-label loss instead of KD's.

    python tools/train.py configs/weak/partial_pll_resnet18-w8_digits.py

Needs nothing: scikit-learn ships the images. Everything else is as in partial_resnet18-w8_digits.py.
"""
_base_ = ['./partial_resnet18-w8_digits.py']
model = dict(distiller=dict(
    distill_losses=dict(_delete_=True, loss_partial=dict(type='wsld_plugin.PartialLabelLoss')),
    loss_forward_mappings=dict(_delete_=True, loss_partial=dict(
        student=dict(recorder='logits', from_student=True),
        teacher=dict(recorder='logits', from_student=False, connector='teacher_logits')))))
