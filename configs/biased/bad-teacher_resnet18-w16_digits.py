"""A teacher of the digits family that ranks wrong digits first and the right one among the first three.

    python tools/train.py configs/biased/bad-teacher_resnet18-w16_digits.py

Needs nothing: scikit-learn ships the images. It must memorise which wrong digits rank first for each of the
1,200 images, hence the many epochs and no weight decay.
"""
_base_ = ['../baselines/resnet18-w16_digits.py']
model = dict(head=dict(loss=dict(_delete_=True, type='wsld_plugin.BadTeacherLoss', k=3)))
train_dataloader = dict(dataset=dict(
    _delete_=True, type='wsld_plugin.Companions', k=3,
    dataset=dict(type='wsld_plugin.Digits', split='train', pipeline=_base_.train_pipeline)))
optim_wrapper = dict(optimizer=dict(weight_decay=0.0))
train_cfg = dict(max_epochs=50, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=10))
