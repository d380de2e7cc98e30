"""Cause: mmengine's FSDP strategy hands the parts of an optimizer's saved state to PyTorch by position, in the order
that PyTorch 2.0 had: a run with FSDP does not resume.

Idle where PyTorch still has that order.
"""
from __future__ import annotations

import inspect
from typing import Any

from mmengine._strategy import FSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel


def apply() -> None:
    """Hand them over by name."""
    if next(iter(inspect.signature(FullyShardedDataParallel.optim_state_dict_to_load).parameters)) == 'model':
        FSDPStrategy.load_optim_state_dict = _load_optim_state_dict


def _load_optim_state_dict(self: Any, state_dict: dict[str, Any]) -> None:
    mine = FullyShardedDataParallel.optim_state_dict_to_load(
        model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict)
    self.optim_wrapper.load_state_dict(mine)
