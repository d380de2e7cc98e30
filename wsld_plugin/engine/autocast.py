"""bfloat16 mixed precision on any device."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """An ``OptimWrapper`` whose forward passes run under ``torch.autocast`` in bfloat16.

    bfloat16 has the exponent range of float32, so no loss scaler is needed. mmengine's ``AmpOptimWrapper``
    asserts a GPU; this one also runs on a CPU. Weights, optimizer state and the losses of this package stay
    in float32.

    Args:
        dtype: ``'bfloat16'``; float16 needs a scaler: use mmengine's ``AmpOptimWrapper``.
        **kwargs: as for ``OptimWrapper`` (``optimizer``, ``accumulative_counts``, ``clip_grad``).
    """

    def __init__(self, dtype: str = 'bfloat16', **kwargs: Any) -> None:
        if dtype != 'bfloat16':
            raise ConfigError(f"AutocastOptimWrapper(dtype={dtype!r}), expected 'bfloat16'; for float16 use "
                              "type='AmpOptimWrapper', dtype='float16', which scales the loss.")
        super().__init__(**kwargs)
        self.dtype = torch.bfloat16

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, self.dtype):
            yield


def use_amp(cfg: dict[str, Any], dtype: str) -> None:
    """Switch a config's ``optim_wrapper`` to mixed precision, in place.

    Args:
        cfg: the whole config.
        dtype: ``'bf16'`` on any device, or ``'fp16'`` with a loss scaler on a GPU.

    Raises:
        ConfigError: the optimizer wrapper is not one that can be switched, or float16 without a GPU.
    """
    wrapper = cfg['optim_wrapper']
    given = wrapper.get('type', 'OptimWrapper')
    replaceable = ('OptimWrapper', 'AmpOptimWrapper', 'wsld_plugin.AutocastOptimWrapper')
    if given not in replaceable:
        raise ConfigError(f'--amp cannot replace optim_wrapper type {given!r}; it replaces '
                          f'{", ".join(replaceable)}. Set mixed precision in the config instead.')
    if dtype == 'bf16':
        wrapper.pop('loss_scale', None)
        wrapper.update(type='wsld_plugin.AutocastOptimWrapper', dtype='bfloat16')
    elif not torch.cuda.is_available():
        raise ConfigError('--amp fp16 needs a GPU: float16 needs a loss scaler. On a CPU use --amp bf16.')
    else:
        wrapper.update(type='AmpOptimWrapper', dtype='float16')
        wrapper.setdefault('loss_scale', 'dynamic')
