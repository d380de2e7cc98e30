"""The schedule of the teacher-free tables: 200 epochs of batch 128, a fifth after 60, 120 and 160, one to warm up.

The paper reports the best epoch. It does not say whether its momentum is Nesterov's; here it is not.
"""
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    # step i of the first epoch's 391 has lr·(i + 1)/391
    dict(type='LinearLR', start_factor=1 / 391, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='MultiStepLR', by_epoch=True, begin=0, milestones=[60, 120, 160], gamma=0.2),
]
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=128)
