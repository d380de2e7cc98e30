"""What of a training config must hold for its step to be recorded, and how its optimizer is prepared."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from wsld_plugin.errors import ConfigError

from .autocast import AutocastOptimWrapper


def use_captured_step(cfg: Config) -> None:
    """Let a whole training config, whose data are resident, capture its step; in place, see `CapturedStepHook`."""
    hook = dict(type='wsld_plugin.CapturedStepHook')
    cfg.default_hooks = {**(cfg.get('default_hooks') or {}), 'captured_step': hook}


def prepare_optimizer(optimizer: Optimizer) -> None:
    """Let SGD use its fused kernel, the only one that reads the learning rate from a tensor, in every step."""
    for group in optimizer.param_groups:
        group.update(fused=True, foreach=False)


def check_capturable(model: nn.Module, optim_wrapper: OptimWrapper) -> None:
    """Refuse what decides in Python, or waits for the device, in every step.

    Raises:
        ConfigError: naming it.
    """
    optimizer = getattr(optim_wrapper, 'optimizer', None)
    refused = None
    if type(optim_wrapper) not in (OptimWrapper, AutocastOptimWrapper):
        refused = (f'optim_wrapper of type {type(optim_wrapper).__name__}, expected OptimWrapper or '
                   'wsld_plugin.AutocastOptimWrapper')
    elif type(optimizer) is not SGD:  # others keep more state, and check for themselves whether they are captured
        refused = f'optimizer {type(optimizer).__name__}, expected SGD'
    elif optim_wrapper._accumulative_counts != 1:
        refused = f'optim_wrapper.accumulative_counts={optim_wrapper._accumulative_counts}, expected 1'
    elif optim_wrapper.clip_grad_kwargs:
        refused = 'optim_wrapper.clip_grad: its norm is read in every step'
    elif getattr(model.data_preprocessor, 'batch_augments', None) is not None:
        refused = 'data_preprocessor.batch_augments: the host draws how it mixes'
    elif type(getattr(model, 'teacher', None)).__name__ == 'CachedTeacher':
        refused = 'a CachedTeacher, which looks up its soft labels on the host'
    if refused:
        raise ConfigError(f'the training step cannot be captured with {refused}. Change it, or train without '
                          'capturing the step.')


@contextmanager
def rates_as_tensors(optimizer: Optimizer, rates: Sequence[Tensor]) -> Iterator[None]:
    """Inside, the learning rates are tensors; the schedule and the log only ever see the numbers."""
    numbers = [group['lr'] for group in optimizer.param_groups]
    try:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group['lr'] = rate
        yield
    finally:
        for group, number in zip(optimizer.param_groups, numbers, strict=True):
            group['lr'] = number
