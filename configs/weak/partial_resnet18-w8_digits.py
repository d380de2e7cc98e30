"""Partial labels: a set of candidate classes for each of 1,200 digits. The student sees no true label.

    python tools/train.py configs/weak/partial_resnet18-w8_digits.py

Needs nothing: scikit-learn ships the images. The soft label is uniform over the set; the loss is KD's at τ = 1.
"""
_base_ = ['./kd_resnet18-w32_resnet18-w8-all_digits.py']
model = dict(
    teacher=dict(_delete_=True, type='wsld_plugin.GivenTeacher', num_classes=10),
    teacher_ckpt=False)
train_dataloader = dict(dataset=dict(
    _delete_=True, type='wsld_plugin.PartialLabels', unreliability=0.1, ambiguity=0.3,
    dataset=dict(type='wsld_plugin.Digits', split='train', pipeline=_base_.train_pipeline)))
