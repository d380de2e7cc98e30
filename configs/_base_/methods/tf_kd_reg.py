"""Tf-KD_reg by the paper's equation, no network as teacher (Yuan et al., CVPR 2020, arXiv 1909.11723).

    (1 - α)·CE + α·KL(p^τ ‖ softmax(s/τ)),    p = 0.99 at the label, 0.01/(C - 1) elsewhere; p^τ ∝ p^(1/τ)

α=0.1, τ=20: the paper's for ImageNet. Set α twice: hard_weight is 1 - α, loss_weight is α. Without τ² the soft part
is small; the tables come from the authors' code, which is tf_kd_reg_official.py.
A config that uses this adds model = dict(teacher=dict(num_classes=…)), the student's.
"""
_base_ = './tf_kd.py'
model = dict(
    hard_weight=0.9,
    teacher=dict(type='wsld_plugin.VirtualTeacher', correct_prob=0.99),
    teacher_ckpt=False,
    distiller=dict(distill_losses=dict(loss_kd=dict(loss_weight=0.1))))
