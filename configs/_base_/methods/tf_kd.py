"""KD, Tf-KD_self, Re-KD and De-KD by the paper's equation (Yuan et al., CVPR 2020, arXiv 1909.11723).

    (1 - α)·CE + α·KL(softmax(t/τ) ‖ softmax(s/τ))

The four differ in the teacher: a larger network; the student's own architecture, trained alone before; a smaller
network; a poorly trained one. Without τ² the soft part's gradient falls as 1/τ²: at τ=20 it is a few hundred
times smaller than in kd_crd.py. The tables come from the authors' code, which is tf_kd_official.py.
Set α twice: hard_weight is 1 - α, loss_weight is α. Here α=0.95, τ=20, the code's for MobileNetV2
and ShuffleNetV2.
"""
_base_ = './kd.py'
model = dict(
    hard_weight=0.05,
    distiller=dict(distill_losses=dict(loss_kd=dict(tau=20.0, loss_weight=0.95, tau_squared=False))))
