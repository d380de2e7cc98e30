"""KD on 100 handwritten digits, without the soft labels of regularization samples.

    python tools/train.py configs/baselines/resnet18-w32_digits.py
    python tools/train.py configs/regularization/kd-filtered_resnet18-w32_resnet18-w8_digits.py

The first command trains the teacher. Half of each: samples.regularization=0.5; see docs/results.md.
"""
_base_ = ['./kd-monitored_resnet18-w32_resnet18-w8_digits.py']
model = dict(distiller=dict(
    distill_losses=dict(loss_kd=dict(samples=dict(reading='label', regularization=0.0, others=1.0))),
    loss_forward_mappings=dict(loss_kd=dict(
        gt_labels=dict(recorder='target', from_student=True, data_idx=1)))))
