"""Cause: mmengine's DeepSpeed strategy registers DeepSpeed's optimizers from modules of which current DeepSpeed has
no longer all (``deepspeed.runtime.fp16.onebit``), and registers them anew for every run of a process, which the
registry refuses.

Never idle, and without effect where DeepSpeed is not installed.
"""
from __future__ import annotations

from importlib import import_module

from mmengine._strategy import deepspeed as strategy
from mmengine.registry import OPTIMIZERS

_OPTIMIZERS = {'deepspeed.ops.adam': ('DeepSpeedCPUAdam', 'FusedAdam'), 'deepspeed.ops.lamb': ('FusedLamb', ),
               'deepspeed.runtime.fp16.onebit': ('OnebitAdam', 'OnebitLamb', 'ZeroOneAdam')}


def apply() -> None:
    """Register what there is, once."""
    strategy.register_deepspeed_optimizers = _register


def _register() -> list[str]:
    found = []
    for module, names in _OPTIMIZERS.items():
        try:
            source = import_module(module)
        except ImportError:
            continue
        for name in names:
            if hasattr(source, name):
                OPTIMIZERS.register_module(module=getattr(source, name), force=True)
                found.append(name)
    return found
