"""KD as in the CIFAR-100 tables of CRD: 0.1·CE + 0.9·τ²·KL(teacher ‖ student), τ=4.

Source: Tian et al., Contrastive Representation Distillation, ICLR 2020, arXiv 1910.10699, and its code, whose KD
numbers most tables of CIFAR-100 quote.
"""
_base_ = './kd.py'
model = dict(hard_weight=0.1, distiller=dict(distill_losses=dict(loss_kd=dict(tau=4.0, loss_weight=0.9))))
