"""The recorders of every method: logits of teacher and student, and the target. It has no loss."""
model = dict(
    type='wsld_plugin.SoftLabelDistill',
    hard_weight=1.0,
    distiller=dict(
        type='mmrazor.ConfigurableDistiller',
        # `head` returns the logits of any single-label classifier; its loss module is given (logits, target)
        student_recorders=dict(
            logits=dict(type='mmrazor.ModuleOutputs', source='head'),
            target=dict(type='mmrazor.ModuleInputs', source='head.loss_module')),
        teacher_recorders=dict(logits=dict(type='mmrazor.ModuleOutputs', source='head')),
        connectors=dict(teacher_logits=dict(type='wsld_plugin.LogitConnector'))))
