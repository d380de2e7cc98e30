"""CIFAR-100 for the teacher-free tables: 128 images an iteration, also rotated; other mean and std."""
_base_ = './cifar100_bs64.py'

# (.50708, .48655, .44092) and (.26733, .25644, .27615) of 255
data_preprocessor = dict(mean=[129.3054, 124.07025, 112.4346], std=[68.16915, 65.3922, 70.41825])

train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='NumpyToPIL'),
    dict(type='torchvision/RandomRotation', degrees=15),  # nearest pixel, black corners
    dict(type='PILToNumpy'),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=train_pipeline))
