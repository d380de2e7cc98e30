"""The schedule of the WSLD authors' code: as imagenet_bs256.py, with Nesterov and 101 epochs."""
_base_ = './imagenet_bs256.py'
optim_wrapper = dict(optimizer=dict(nesterov=True))
train_cfg = dict(max_epochs=101)
