"""The kinds of the parts of a config that this package reads: dicts, lists and names."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.hooks import Hook
from torch import nn

from wsld_plugin.errors import ConfigError, short

KeyPath = tuple[str, ...]

# By their places, as of `matching`. A part that is None or not there has no kind.
_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    **dict.fromkeys((
        'model', 'data_preprocessor', 'optim_wrapper', 'optim_wrapper.optimizer', 'train_cfg', 'val_cfg', 'test_cfg',
        'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_dataloader.dataset',
        'train_dataloader.sampler', 'default_hooks', 'randomness', 'env_cfg', 'auto_scale_lr', 'custom_imports',
        'model.distiller', *(f'model.distiller.{part}{inside}' for inside in ('', '.*') for part in (
            'connectors', 'distill_losses', 'student_recorders', 'teacher_recorders', 'loss_forward_mappings')),
        'model.distiller.loss_forward_mappings.*.*'), ('a dict', (Mapping,))),
    **dict.fromkeys(('default_hooks.*', 'custom_hooks.#'), ('a dict', (Mapping, Hook))),
    'model.architecture': ('a dict', (Mapping, nn.Module)), 'model.teacher': ('a dict', (Mapping, nn.Module)),
    'custom_hooks': ("a list of dicts, such as [dict(type='EMAHook')]", (list, tuple)),
    'param_scheduler': ('a dict or a list of dicts', (Mapping, list, tuple)),
    'param_scheduler.#': ('a dict', (Mapping,)),
    'default_scope': ("the name of a package, such as 'mmpretrain'", (str,)),
    'custom_imports.imports': ('a name or a list of names', (str, list, tuple)),
    **dict.fromkeys(('custom_imports.imports.#', 'model.distiller.loss_forward_mappings.*.*.recorder',
                     'model.distiller.loss_forward_mappings.*.*.connector'), ('a name', (str,))),
}
_NEEDED = ('recorder', 'from_student')  # in what a loss is given


def check_kinds(cfg: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first part of a config that is of another kind than what reads it expects."""
    for where, (expected, kinds) in _KINDS.items():
        for path, value in matching(cfg, where):
            if value is not None and not isinstance(value, kinds):
                raise ConfigError(f'{path}={short(value)}, expected {expected}.')
    for keys, part, scope in dicts(cfg):
        if not isinstance(scope, str):
            raise ConfigError(f'{".".join((*keys, "_scope_"))}={short(scope)}, expected the name of a package.')
        kind = part.get('type', '')
        if kind is None or isinstance(kind, (bool, int, float, list, tuple, Mapping)):
            raise ConfigError(f'{".".join((*keys, "type"))}={short(kind)}, expected the name of a class or function.')
    for path, value in matching(cfg, 'model.distiller.loss_forward_mappings.*.*'):
        for key in _NEEDED:
            if key not in (value or ()):
                raise ConfigError(f'{path} has no {key!r}: expected dict(recorder=…, from_student=…).')


def dicts(value: Any, path: KeyPath = (), scope: str = '') -> Iterator[tuple[KeyPath, Mapping[str, Any], str]]:
    """Every dict in a part of a config with its path and scope, from the outside in; ``_scope_`` sets the scope."""
    if isinstance(value, Mapping):
        scope = value.get('_scope_') or scope
        yield path, value, scope
    elif isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    for key, item in value.items() if isinstance(value, Mapping) else ():
        yield from dicts(item, (*path, str(key)), scope)


def matching(value: Any, where: str, path: KeyPath = ()) -> Iterator[tuple[str, Any]]:
    """The parts of a config at a dotted place, with their paths; ``*`` is any key or index, ``#`` any index."""
    first, _, rest = where.partition('.')
    listed = isinstance(value, (list, tuple))
    for key, item in enumerate(value) if listed else value.items() if isinstance(value, Mapping) else ():
        if first in ('*', '#' if listed else '*', str(key)):
            here = (*path, str(key))
            yield from matching(item, rest, here) if rest else [('.'.join(here), item)]
