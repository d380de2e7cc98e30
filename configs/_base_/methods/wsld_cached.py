"""Weighted soft labels from disk: the teacher's exact cross entropy comes from the cache too. See docs/caching.md.

A config that uses this adds model = dict(teacher=dict(model=dict(cfg_path='…'), checkpoint='…')).
"""
_base_ = './wsld.py'
model = dict(
    teacher=dict(
        type='wsld_plugin.CachedTeacher',
        views=1,        # augmentations of each image: as many as fit the disk, 1 where there is no augmentation
        top_k=None),    # logits kept of each image; None: all
    teacher_ckpt=False,
    distiller=dict(
        teacher_recorders=dict(teacher_ce=dict(type='mmrazor.ModuleOutputs', source='teacher_ce')),
        loss_forward_mappings=dict(loss_wsld=dict(
            teacher_ce=dict(recorder='teacher_ce', from_student=False)))))
