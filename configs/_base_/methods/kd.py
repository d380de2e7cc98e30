"""Plain KD with the τ and weight of MMRazor's ImageNet config (71.81 % for ResNet-34 → ResNet-18)."""
_base_ = './soft_label.py'
model = dict(distiller=dict(
    distill_losses=dict(loss_kd=dict(type='wsld_plugin.KD', tau=1.0, loss_weight=3.0)),
    loss_forward_mappings=dict(loss_kd=dict(
        student=dict(recorder='logits', from_student=True),
        teacher=dict(recorder='logits', from_student=False, connector='teacher_logits')))))
