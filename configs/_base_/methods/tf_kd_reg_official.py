"""Tf-KD_reg as the authors' code computes it (Yuan et al., CVPR 2020, arXiv 1909.11723).

    (1 - α)·CE + α·multiplier · 1/(N·C) Σ_i KL(softmax(p_i/τ) ‖ softmax(s_i)),    p = 0.99 or 0.01/(C - 1)

Unlike the paper (tf_kd_reg.py): the softmax is taken of the probabilities, not of their logarithm, so the
soft label is almost uniform; the student's logits are not divided by τ; there is a multiplier; the mean divides by
the classes too. Set α twice: hard_weight is 1 - α, loss_weight is α. The code's values for CIFAR-100:

    student       α     τ    multiplier
    MobileNetV2   0.95  40     1          (below)
    ShuffleNetV2  0.95  10     1
    ResNet18      0.1   20   100
    GoogLeNet     0.1   40    50

A config that uses this adds model = dict(teacher=dict(num_classes=…)), the student's.
"""
_base_ = './tf_kd_reg.py'
model = dict(
    hard_weight=0.05,
    teacher=dict(logits='prob'),
    distiller=dict(distill_losses=dict(loss_kd=dict(
        tau=40.0, loss_weight=0.95, student_tau=1.0, mean_over='elements', multiplier=1.0))))
