"""WSLD on CIFAR-100 with the soft-label monitor.

    python tools/train.py configs/regularization/wsld-monitored_resnet20_resnet8_1xb64_cifar100.py

Everything else is as in configs/wsld/wsld_resnet20_resnet8_1xb64_cifar100.py.
"""
_base_ = ['../wsld/wsld_resnet20_resnet8_1xb64_cifar100.py']
custom_hooks = [dict(type='wsld_plugin.SoftLabelMonitorHook')]
