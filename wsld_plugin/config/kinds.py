"""The kinds of the parts of a config that this package reads: dicts, lists and names."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.hooks import Hook
from torch import nn

from wsld_plugin.errors import ConfigError, short

# ``*`` is any key or index. A part that is None or not there has no kind.
_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    **dict.fromkeys((
        'model', 'data_preprocessor', 'optim_wrapper', 'optim_wrapper.optimizer', 'train_cfg', 'val_cfg', 'test_cfg',
        'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_dataloader.dataset',
        'train_dataloader.sampler', 'default_hooks', 'randomness', 'env_cfg', 'auto_scale_lr', 'custom_imports',
        'model.distiller', *(f'model.distiller.{part}{inside}' for inside in ('', '.*') for part in (
            'connectors', 'distill_losses', 'student_recorders', 'teacher_recorders', 'loss_forward_mappings')),
        'model.distiller.loss_forward_mappings.*.*'), ('a dict', (Mapping,))),
    **dict.fromkeys(('default_hooks.*', 'custom_hooks.*'), ('a dict', (Mapping, Hook))),
    'model.architecture': ('a dict', (Mapping, nn.Module)), 'model.teacher': ('a dict', (Mapping, nn.Module)),
    'custom_hooks': ("a list of dicts, such as [dict(type='EMAHook')]", (list, tuple)),
    'param_scheduler': ('a dict or a list of dicts', (Mapping, list, tuple)),
    'custom_imports.imports': ('a name or a list of names', (str, list, tuple)),
    **dict.fromkeys(('custom_imports.imports.*', 'model.distiller.loss_forward_mappings.*.*.recorder',
                     'model.distiller.loss_forward_mappings.*.*.connector'), ('a name', (str,))),
}
_NEEDED = ('recorder', 'from_student')  # in what a loss is given


def check_kinds(cfg: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first part of a config that is of another kind than what reads it expects."""
    for where, (expected, kinds) in _KINDS.items():
        for path, value in _matching(cfg, where.split('.')):
            if value is not None and not isinstance(value, kinds):
                raise ConfigError(f'{path}={short(value)}, expected {expected}.')
    schedulers = cfg.get('param_scheduler')
    for path, value in _matching(cfg, ['param_scheduler', '*']) if isinstance(schedulers, (list, tuple)) else ():
        if not isinstance(value, Mapping):
            raise ConfigError(f'{path}={short(value)}, expected a dict.')
    for path, value in _types(cfg):
        if value is None or isinstance(value, (bool, int, float, list, tuple, Mapping)):
            raise ConfigError(f'{path}={short(value)}, expected the name of a class or function.')
    for path, value in _matching(cfg, ['model', 'distiller', 'loss_forward_mappings', '*', '*']):
        for key in _NEEDED:
            if key not in (value or ()):
                raise ConfigError(f'{path} has no {key!r}: expected dict(recorder=…, from_student=…).')


def _types(value: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Every ``type`` in a part of a config, with its path."""
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(
            value, (list, tuple)) else ():
        where = f'{path}.{key}' if path else str(key)
        if key == 'type':
            yield where, item
        yield from _types(item, where)


def _matching(value: Any, keys: list[str], path: str = '') -> Iterator[tuple[str, Any]]:
    """The parts at a dotted place, with their paths."""
    if not keys:
        yield path, value
        return
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, (list, tuple)) \
        else ()
    for key, item in items:
        if keys[0] in ('*', str(key)):
            yield from _matching(item, keys[1:], f'{path}.{key}' if path else str(key))
