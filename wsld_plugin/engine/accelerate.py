"""The switch ``accelerate``: how a step runs, never what it computes."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from wsld_plugin.errors import ConfigError, check_choice, did_you_mean

from .autocast import use_amp
from .decoding import use_scaled_decoding
from .graph_settings import use_captured_step
from .resident import use_resident_data

# The parts that keep float32 results are on.
DEFAULTS = dict(amp=None, channels_last=True, fold_teacher_bn=True, compile=False, resident=False, cuda_graph=False,
                decode=None)
_ON_OR_OFF = ('channels_last', 'fold_teacher_bn', 'resident', 'cuda_graph')
_VALUES: dict[str, tuple[Any, ...]] = {
    'amp': (None, 'bf16', 'fp16'), 'decode': (None, 'exact', 'scaled'), **dict.fromkeys(_ON_OR_OFF, (True, False))}


def accelerate(cfg: Config) -> None:
    """Write what ``accelerate`` asks for into the other parts of a training config, in place.

    ================  =======  ==================================================================================
    part              default  effect
    ================  =======  ==================================================================================
    amp               None     ``'bf16'`` or ``'fp16'``: mixed precision; see :func:`use_amp`
    channels_last     True     weights and images in the order N, H, W, C in memory: the same sums
    fold_teacher_bn   True     the teacher's BatchNorms become part of its convolutions; see :class:`Fold`
    compile           False    True, or a dict of arguments of `torch.compile`: backbones compiled, and losses
                               of many classes
    resident          False    the training set lives on the device; see :func:`use_resident_data`
    cuda_graph        False    with ``resident``: the step is recorded once and replayed; see `CapturedStepHook`
    decode            None     ``'exact'`` or ``'scaled'``: of a JPEG only what its crop needs is decoded; see
                               :func:`use_scaled_decoding`
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
    if parts['decode']:
        for line in use_scaled_decoding(cfg, exact=parts['decode'] == 'exact'):
            print_log(f'accelerate.decode: {line}', logger='current')
    if parts['resident']:
        use_resident_data(cfg)
    if parts['cuda_graph']:
        if not parts['resident']:
            raise ConfigError('accelerate.cuda_graph=True needs accelerate.resident=True: a recorded step reads its '
                              'images from the same place each time.')
        use_captured_step(cfg)
    if cfg.get('runner_type', 'Runner') == 'Runner':
        cfg.runner_type = 'wsld_plugin.Runner'
    hook = dict(type='wsld_plugin.AccelerateHook', fold_teacher_bn=parts['fold_teacher_bn'], compile=parts['compile'])
    cfg.default_hooks = {**(cfg.get('default_hooks') or {}), 'accelerate': hook}
