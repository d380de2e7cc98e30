"""WSLD on 100 handwritten digits with the soft-label monitor.

    python tools/train.py configs/baselines/resnet18-w32_digits.py
    python tools/train.py configs/regularization/wsld-monitored_resnet18-w32_resnet18-w8_digits.py

The first command trains the teacher. The figures are in soft_label_monitor/ of the run's folder: docs/temperature.md.
"""
_base_ = ['../wsld/wsld_resnet18-w32_resnet18-w8_digits.py']
custom_hooks = [dict(type='wsld_plugin.SoftLabelMonitorHook')]
