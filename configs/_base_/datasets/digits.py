# 8×8 grey digits, in memory, without augmentation: few labels show best what a soft label adds.
data_preprocessor = dict(num_classes=10, mean=[77.8], std=[95.9])

train_pipeline = [dict(type='PackInputs')]
test_pipeline = [dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=50,
    num_workers=0,
    dataset=dict(type='wsld_plugin.Digits', split='train', num_samples=None, pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    batch_size=200,
    num_workers=0,
    dataset=dict(type='wsld_plugin.Digits', split='test', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='Accuracy', topk=(1, ))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
