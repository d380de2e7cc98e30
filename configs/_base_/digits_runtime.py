"""The default runtime for short runs: checkpoints and validation less often than every epoch."""
_base_ = './default_runtime.py'
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=20))
