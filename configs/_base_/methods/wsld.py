"""Weighted soft labels with the paper's τ and weight for ImageNet (Zhou et al., ICLR 2021)."""
_base_ = './soft_label.py'
model = dict(distiller=dict(
    distill_losses=dict(loss_wsld=dict(type='wsld_plugin.WSLD', tau=2.0, loss_weight=2.5)),
    loss_forward_mappings=dict(loss_wsld=dict(
        student=dict(recorder='logits', from_student=True),
        teacher=dict(recorder='logits', from_student=False, connector='teacher_logits'),
        gt_labels=dict(recorder='target', from_student=True, data_idx=1)))))
