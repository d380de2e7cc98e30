"""CIFAR-100, packed into ``data/cifar100/{train,test}``, 64 images an iteration, as the CRD tables augment it.

    python tools/pack_dataset.py cifar100 data/cifar100
"""
data_preprocessor = dict(
    num_classes=100,
    # (.5071, .4867, .4408) and (.2675, .2565, .2761) of 255, in RGB, as the images are packed
    mean=[129.3105, 124.1085, 112.404],
    std=[68.2125, 65.4075, 70.4055],
    to_rgb=False)

train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=64,
    num_workers=4,  # 0 where the processor has one core for this run
    persistent_workers=True,
    dataset=dict(type='wsld_plugin.PackedDataset', data_root='data/cifar100', split='train', pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
    # stack first: one normalisation a batch instead of one an image
    collate_fn=dict(type='default_collate'))
val_dataloader = dict(
    batch_size=500,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(type='wsld_plugin.PackedDataset', data_root='data/cifar100', split='test', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'))
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
