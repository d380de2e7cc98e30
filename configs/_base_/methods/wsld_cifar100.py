"""Weighted soft labels with the authors' τ and weight for CIFAR-100 (Zhou et al., ICLR 2021): 4 and 2.25."""
_base_ = './wsld.py'
model = dict(distiller=dict(distill_losses=dict(loss_wsld=dict(tau=4.0, loss_weight=2.25))))
