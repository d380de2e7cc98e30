"""Ten classes of ImageNet in ``data/imagenette/{train,val}/<class>/``, 64 images a GPU.

Any image folder of this layout: the classes are the names of the sub-folders, sorted.
"""
_base_ = './imagenet_bs32.py'

data_preprocessor = dict(num_classes=10)
train_dataloader = dict(
    batch_size=64,
    dataset=dict(_delete_=True, type='CustomDataset', data_root='data/imagenette', data_prefix='train',
                 pipeline=_base_.train_pipeline))
val_dataloader = dict(
    batch_size=64,
    dataset=dict(_delete_=True, type='CustomDataset', data_root='data/imagenette', data_prefix='val',
                 pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
