"""ImageNet-1k as in imagenet_bs32.py, 64 images a GPU."""
_base_ = './imagenet_bs32.py'

train_dataloader = dict(batch_size=64)
val_dataloader = dict(batch_size=64)
test_dataloader = dict(batch_size=64)
