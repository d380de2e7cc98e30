"""Label smoothing (LSR) as the authors' code of Tf-KD computes it (Yuan et al., CVPR 2020, arXiv 1909.11723).

    -Σ_k p[k] log_softmax(s)[k],    p = 0.9 at the label, 0.1/(C - 1) elsewhere

Unlike the paper (label_smoothing.py): the label has 0.9, not 0.9 + 0.1/C. Written as a divergence, the value
is smaller by the entropy of p, -0.9·log 0.9 - 0.1·log(0.1/(C - 1)); the gradient is the same. The student's own loss
has weight 0 and is computed for the log only.
A config that uses this adds model = dict(teacher=dict(num_classes=…)), the student's.
"""
_base_ = './label_smoothing.py'
model = dict(
    hard_weight=0.0,
    teacher=dict(correct_prob=0.9),
    distiller=dict(distill_losses=dict(loss_kd=dict(loss_weight=1.0))))
