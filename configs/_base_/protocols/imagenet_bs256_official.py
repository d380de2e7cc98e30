"""ImageNet as the authors' code of WSLD trains it: Nesterov, 101 epochs, Pillow's resizing, no incomplete batch."""
_base_ = ['../datasets/imagenet_bs32.py', '../schedules/imagenet_bs256.py', '../default_runtime.py']

# unlike OpenCV, Pillow filters an image before it makes it smaller (antialiasing)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(drop_last=True, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(nesterov=True))
train_cfg = dict(max_epochs=101)
