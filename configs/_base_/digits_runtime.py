"""The default runtime for runs of hundreds of iterations: saved and validated less often than every epoch."""
_base_ = './default_runtime.py'
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=20))
