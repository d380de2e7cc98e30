"""Cause: MMRazor turns in-place operations off, so that they do not overwrite what it records, by a walk that
expects ``nn.Module._modules`` to be an ``OrderedDict``. In current PyTorch it is a plain dict, and the walk ends
at once: nothing is turned off, and recorded features are silently overwritten.

Idle where ``_modules`` is an ``OrderedDict``.
"""
from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn


def apply() -> None:
    """Replace the walk by one over ``modules()``."""
    if isinstance(nn.Module()._modules, OrderedDict):
        return
    from mmrazor.models.algorithms.base import BaseAlgorithm
    BaseAlgorithm.set_module_inplace_false = _set_module_inplace_false


def _set_module_inplace_false(self: Any, architecture: nn.Module, varstr: str) -> None:
    for module in architecture.modules():
        if hasattr(module, 'inplace'):
            setattr(module, 'inplace', False)  # noqa: B010  (a plain attribute that only some modules have)
