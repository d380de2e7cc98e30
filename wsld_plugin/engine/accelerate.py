"""The switch ``accelerate``: how a step runs, never what it computes."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from wsld_plugin.errors import ConfigError, check_choice, did_you_mean

from .autocast import use_amp

# The parts that keep float32 results are on.
DEFAULTS = dict(amp=None, channels_last=True, fold_teacher_bn=True, compile=False)
_VALUES: dict[str, tuple[Any, ...]] = dict(amp=(None, 'bf16', 'fp16'), channels_last=(True, False),
                                           fold_teacher_bn=(True, False))


def accelerate(cfg: Config) -> None:
    """Write what ``accelerate`` asks for into the other parts of a training config, in place.

    ================  =======  ==================================================================================
    part              default  effect
    ================  =======  ==================================================================================
    amp               None     ``'bf16'`` or ``'fp16'``: mixed precision; see :func:`use_amp`
    channels_last     True     weights and images in the order N, H, W, C in memory: the same sums
    fold_teacher_bn   True     the teacher's BatchNorms become part of its convolutions; see :class:`Fold`
    compile           False    True, or a dict of arguments of `torch.compile`: backbones compiled
    ================  =======  ==================================================================================

    What a machine or a model cannot do is refused, or left out with a line in the log that says why.

    Args:
        cfg: a whole training config; where it has no ``accelerate``, the defaults hold.

    Raises:
        ConfigError: an unknown part or value.
    """
    given = cfg.get('accelerate')
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise ConfigError(f'accelerate={given!r}, expected a dict of parts, such as dict(amp=\'bf16\').')
    for name in given:
        if name not in DEFAULTS:
            raise ConfigError(f'accelerate.{name}: there is no such part, but {", ".join(DEFAULTS)}.'
                              + did_you_mean(str(name), DEFAULTS))
    parts = {**DEFAULTS, **given}
    for name, choices in _VALUES.items():
        check_choice(f'accelerate.{name}', parts[name], choices)
    if not isinstance(parts['compile'], (bool, Mapping)):
        raise ConfigError(f'accelerate.compile={parts["compile"]!r}, expected True, False or a dict of arguments of '
                          "torch.compile, such as dict(mode='max-autotune').")
    cfg.accelerate = parts
    if parts['amp']:
        use_amp(cfg, str(parts['amp']))
    if cfg.get('runner_type', 'Runner') == 'Runner':
        cfg.runner_type = 'wsld_plugin.Runner'
    hook = dict(type='wsld_plugin.AccelerateHook', fold_teacher_bn=parts['fold_teacher_bn'], compile=parts['compile'])
    cfg.default_hooks = {**(cfg.get('default_hooks') or {}), 'accelerate': hook}
