"""Models that are named and overridden: ``dict(cfg_path='mmpretrain::…', head=dict(num_classes=10))``."""
from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS
from torch import nn

from wsld_plugin.config.files import read_config
from wsld_plugin.config.overrides import unread
from wsld_plugin.config.walk import dotted, walk
from wsld_plugin.errors import ConfigError


def resolve_model_cfg(cfg: Mapping[str, Any], where: str = '') -> dict[str, Any]:
    """The whole config of a model, from the config that names it.

    Args:
        cfg: a model config; with ``cfg_path``, everything beside it is merged into the ``model`` of the
            config of that name as mmengine merges a config into its base: dicts key by key, one with
            ``_delete_=True`` replaces, a list is replaced or changed by index (``{'0': …}``).
        where: dotted path of ``cfg`` in a larger config, for the messages.

    Returns:
        A deep copy of ``cfg``, self-contained. From a ``cfg_path``, its ``_scope_`` is set, and the
        ``data_preprocessor`` at the top level of the named config has moved into the model, as mmengine's
        Runner would do.

    Raises:
        ConfigError: no such config; an override that sets what nothing reads. The nearest name is shown.

    MMRazor ignores every override beside ``cfg_path``, and its ``pretrained=True`` there downloads weights.
    """
    overrides = _plain(cfg)
    if 'cfg_path' not in overrides:
        return overrides
    path = tuple(where.split('.')) if where else ()
    cfg_path = overrides.pop('cfg_path')
    _drop_pretrained_flag(overrides, where)
    try:
        base = _named_model(str(cfg_path))
        merged = Config(dict(model=base))
        merged.merge_from_dict(dict(model=copy.deepcopy(overrides)))
    except ConfigError as error:
        raise ConfigError(f'{dotted(path, "cfg_path")}: {error}') from error
    except (KeyError, TypeError) as error:  # mmengine's, of dicts and lists that cannot be merged
        raise ConfigError(f'{dotted(path, "cfg_path")}={str(cfg_path)!r}: {error.args[0]}') from error
    model = _without_delete(_plain(merged.model))

    visits = {visit.path: visit for visit in walk(model, model['_scope_'], path)}
    problems = [problem for visit in visits.values() for problem in visit.problems()]
    problems += unread(overrides, base, visits, path)
    if problems:
        hint = ' Merged dicts keep their other keys; _delete_=True in a dict replaces it.'
        left_over = _changes_a_type(overrides) and any(' takes no ' in problem for problem in problems)
        raise ConfigError('\n'.join(dict.fromkeys(problems)) + (hint if left_over else ''))
    return model


def build_model(cfg: Mapping[str, Any] | nn.Module) -> nn.Module:
    """The model of a config (see :func:`resolve_model_cfg`); a built model is returned as it is.

    Raises:
        ConfigError: see :func:`resolve_model_cfg`; no ``type``.
    """
    if isinstance(cfg, nn.Module):
        return cfg
    model = resolve_model_cfg(cfg)
    if not model.get('type'):
        raise ConfigError(f"a model config needs a type (mostly 'mmpretrain.ImageClassifier') or a cfg_path; "
                          f'it has {", ".join(map(repr, model)) or "nothing"}.')
    return MODELS.build(model)


def _named_model(cfg_path: str) -> dict[str, Any]:
    """The model of the config ``cfg_path``, ready to be merged into."""
    named = read_config(cfg_path)
    if not isinstance(named.get('model'), Mapping):
        raise ConfigError(f'{cfg_path} has no `model`.')
    model = resolve_model_cfg(named.model)
    package = cfg_path.partition('::')[0] if '::' in cfg_path else 'mmpretrain'
    model.setdefault('_scope_', named.get('default_scope') or package)
    if named.get('data_preprocessor') and not model.get('data_preprocessor'):
        model['data_preprocessor'] = {'type': 'ClsDataPreprocessor', **_plain(named.data_preprocessor)}
    return model


def _drop_pretrained_flag(overrides: dict[str, Any], where: str) -> None:
    """MMRazor's configs write ``pretrained=False`` beside ``cfg_path``; a path or URL is mmpretrain's own."""
    if overrides.get('pretrained') is True:
        raise ConfigError(f"{where or 'the model'}: pretrained=True beside cfg_path would download weights "
                          'unseen. Name the file or URL: teacher_ckpt=… for a teacher, else '
                          "init_cfg=dict(type='Pretrained', checkpoint=…).")
    if overrides.get('pretrained') is False:
        del overrides['pretrained']


def _changes_a_type(overrides: Mapping[str, Any]) -> bool:
    return any(key == 'type' or (isinstance(value, Mapping) and _changes_a_type(value))
               for key, value in overrides.items())


def _plain(value: Any) -> Any:
    """A deep copy in ordinary dicts around the same modules; lazily imported classes as import paths."""
    if isinstance(value, ConfigDict):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value if isinstance(value, nn.Module) else copy.deepcopy(value)


def _without_delete(value: Any) -> Any:
    """mmengine leaves ``_delete_`` in dicts that had nothing to replace."""
    if isinstance(value, dict):
        return {key: _without_delete(item) for key, item in value.items() if key != '_delete_'}
    if isinstance(value, (list, tuple)):
        return type(value)(_without_delete(item) for item in value)
    return value
