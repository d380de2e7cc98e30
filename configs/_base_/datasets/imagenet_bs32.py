"""ImageNet-1k in ``data/imagenet/{train,val}/<class>/``, as mmpretrain prepares it, 32 images a GPU."""
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs32.py'

train_dataloader = dict(
    # workers are started once, not in every epoch; the augmentation does not depend on it
    persistent_workers=True,
    # stack first: one normalisation a batch instead of one an image
    collate_fn=dict(type='default_collate'))
val_dataloader = train_dataloader
test_dataloader = train_dataloader
