"""Label smoothing (LSR) with ε=0.1 as KD from a uniform teacher (Yuan et al., CVPR 2020, arXiv 1909.11723).

    (1 - ε)·CE + ε·KL(uniform ‖ softmax(s))

Its gradient is that of PyTorch's cross_entropy(label_smoothing=ε); its value is smaller by ε·log C. The tables come
from the authors' code, which is label_smoothing_official.py. Set ε twice: hard_weight is 1 - ε, loss_weight is ε.
A config that uses this adds model = dict(teacher=dict(num_classes=…)), the student's.
"""
_base_ = './kd.py'
model = dict(
    hard_weight=0.9,
    teacher=dict(type='wsld_plugin.VirtualTeacher', correct_prob='uniform'),
    teacher_ckpt=False,
    distiller=dict(distill_losses=dict(loss_kd=dict(tau=1.0, loss_weight=0.1))))
