"""From the name of a config file and the options of a command line to a whole config.

Whole means: options are merged, and every ``cfg_path`` of its model is replaced by the model that it names. Nothing
executes a config file after that.
"""
from __future__ import annotations

import ast
import copy
import os
import traceback
import warnings
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.utils import MODULE2PACKAGE

from wsld_plugin.errors import ConfigError, did_you_mean, nearest
from wsld_plugin.files import from_json

from .kinds import check_kinds
from .types import RENAMED, runner_keys

_HINTS = {**dict.fromkeys(('.pth', '.pt', '.ckpt', '.tar', '.bin', '.safetensors'),
                          ' It looks like a checkpoint: the config comes first, then the checkpoint.'),
          **dict.fromkeys(('.yml', '.yaml'), ' YAML is not read, because reading it can run code.')}


def load_config(path: str | Path, options: Mapping[str, Any] | None = None, *, teacher: bool = True) -> Config:
    """The config at ``path``, whole.

    Args:
        path: a config file, or ``'package::path'`` for one that an installed package ships.
        options: dotted keys and their values, as ``--cfg-options`` gives them, merged as mmengine merges them; an
            element of a list is named by its index.
        teacher: False: leave out the teacher of a distillation without reading its config.

    Raises:
        ConfigError: a file, base or ``cfg_path`` that does not exist; a file that cannot be executed; an option that
            cannot be merged, or whose first key neither the config has nor a run reads.
    """
    cfg = read_config(path)
    if options:
        known = {*cfg, *runner_keys()}
        for key in (option.partition('.')[0] for option in options):
            if key not in known:
                raise ConfigError(f'option {key!r}: {path} has no such key, and a run reads none.'
                                  + did_you_mean(key, known))
        try:
            cfg.merge_from_dict(copy.deepcopy(dict(options)))
        except (KeyError, TypeError) as error:
            raise ConfigError(f'{path} cannot take the options {", ".join(options)}: {error.args[0]}. An element of '
                              'a list is named by its index, such as param_scheduler.0.gamma.') from error
    check_kinds({key: cfg[key] for key in cfg})
    if cfg.get('model') is None:
        return cfg
    if not teacher and 'architecture' in cfg.model:
        cfg.model.pop('teacher', None)
    named: dict[str, Config] = {}
    cfg.model = _resolved(cfg.model.to_dict(), 'model', named)
    imports = list(dict.fromkeys(module for each in (cfg, *named.values()) for module in custom_imports(each)))
    if imports != custom_imports(cfg):  # the named files are not read again when a dump of this config is
        cfg.custom_imports = dict(imports=imports, allow_failed_imports=False)
    return cfg


def resolve_model_cfg(cfg: Mapping[str, Any], where: str = 'model') -> dict[str, Any]:
    """A self-contained copy of a model config.

    Args:
        cfg: a model config. In every dict with ``cfg_path``, the other keys are merged into the ``model`` of the
            config of that name as mmengine merges a config into its base: dicts key by key, one with
            ``_delete_=True`` replaces, a list is replaced or changed by index (``{'0': …}``).
        where: dotted path of ``cfg`` in a larger config, for messages.

    Returns:
        The config in ordinary dicts. A model from a ``cfg_path`` has a ``_scope_``, and the ``data_preprocessor`` at
        the top level of the named config, as mmengine's Runner passes it on.

    Raises:
        ConfigError: no such config, overrides that cannot be merged, or ``pretrained=True`` beside ``cfg_path``.

    Unlike MMRazor, which ignores overrides beside ``cfg_path`` and downloads weights for ``pretrained=True`` there.
    """
    return _resolved(ConfigDict(cfg).to_dict(), where, {})


def read_config(name: str | Path) -> Config:
    """The config at ``name``, a path or ``'package::path'``, as mmengine reads it.

    Raises:
        ConfigError: not a config; it, or a base of it, does not exist or cannot be executed. The message names the
            file, the line and the nearest name.
    """
    path = find_config(name)
    _check_bases(path, asked_by=())
    try:
        return Config.fromfile(path)
    except Exception as error:  # a config is a program and may raise anything
        line = _line_in_config(error)
        with warnings.catch_warnings():  # mmengine leaves its copy of the file open
            warnings.simplefilter('ignore', ResourceWarning)
            traceback.clear_frames(error.__traceback__)
        raise ConfigError(f'{line or path}: {type(error).__name__}: {error}') from error


def find_config(name: str | Path, relative_to: str | Path = '.') -> Path:
    """The file of a config.

    Args:
        name: a path, or ``'mmpretrain::resnet/resnet18_8xb32_in1k.py'`` for a config that an installed package ships.
            Nothing is downloaded or installed.
        relative_to: the folder that a relative path starts from.

    Raises:
        ConfigError: no such package or file; the message names the nearest file that exists.
    """
    name = str(name)
    package, shipped, inside = name.partition('::')
    prefix = package + shipped if shipped else ''
    root = _shipped_configs(package, name) if shipped else Path(relative_to)
    path = root / (inside if shipped else Path(name).expanduser())
    if path.is_file():
        return path
    what = 'is a folder, not a config file' if path.is_dir() else 'does not exist'
    zoo = _shipped_configs('mmpretrain', 'mmpretrain')
    same = next((each for each in sorted(zoo.rglob('*.py')) if each.stem == path.stem), None)
    if same is not None and not prefix:
        wanted = f'mmpretrain::{same.relative_to(zoo).as_posix()}'
        raise ConfigError(f'{name} {what}. mmpretrain has a config of that name: write {wanted!r}.')
    found = _nearest_file(path)
    if found is None:
        raise ConfigError(f'{name} {what}, and no config near it has a similar name.')
    shown = os.path.relpath(found, root) if prefix or not Path(name).is_absolute() else str(found)
    raise ConfigError(f'{name} {what}. Did you mean {prefix + shown!r}?')


def _resolved(value: Any, where: str, named: dict[str, Config]) -> Any:
    """Copy plain dicts and lists with each ``cfg_path`` replaced; ``named`` keeps the configs that were read."""
    if isinstance(value, dict):
        if isinstance(value.get('cfg_path'), str):
            value = _merged_model(value, where, named)
        # mmengine leaves _delete_ in dicts that had nothing to replace
        return {key: _resolved(item, f'{where}.{key}', named) for key, item in value.items() if key != '_delete_'}
    if isinstance(value, (list, tuple)):
        return type(value)(_resolved(item, f'{where}.{index}', named) for index, item in enumerate(value))
    return value


def _merged_model(cfg: Mapping[str, Any], where: str, named: dict[str, Config]) -> dict[str, Any]:
    cfg_path = cfg['cfg_path']
    # MMRazor's configs write pretrained=False beside cfg_path; a path or URL there is an argument of mmpretrain's
    overrides = {key: item for key, item in cfg.items() if key != 'cfg_path' and (key, item) != ('pretrained', False)}
    if overrides.get('pretrained') is True:
        raise ConfigError(f'{where}: pretrained=True beside cfg_path would download weights. Name the file or URL: '
                          "teacher_ckpt=… for a teacher, else init_cfg=dict(type='Pretrained', checkpoint=…).")
    try:
        if cfg_path not in named:
            named[cfg_path] = read_config(cfg_path)
        base = named[cfg_path]
        if not isinstance(base.get('model'), Mapping):
            raise ConfigError(f'{cfg_path} has no `model`.')
        model = _resolved(base.model.to_dict(), 'model', named)
        package = cfg_path.partition('::')[0] if '::' in cfg_path else 'mmpretrain'
        model.setdefault('_scope_', base.get('default_scope') or package)
        if base.get('data_preprocessor') and not model.get('data_preprocessor'):
            model['data_preprocessor'] = {'type': 'ClsDataPreprocessor', **base.data_preprocessor.to_dict()}
        merged = Config(dict(model=model))
        merged.merge_from_dict(dict(model=copy.deepcopy(overrides)))
    except ConfigError as error:
        raise ConfigError(f'{where}.cfg_path: {error}') from error
    except (KeyError, TypeError) as error:  # mmengine's, for dicts and lists that cannot be merged
        raise ConfigError(f'{where}.cfg_path={cfg_path!r}: {error.args[0]}') from error
    return merged.model.to_dict()


def custom_imports(cfg: Mapping[str, Any]) -> list[str]:
    """The modules that a config imports."""
    imports = (cfg.get('custom_imports') or {}).get('imports') or []
    return [imports] if isinstance(imports, str) else list(imports)


def _check_bases(path: Path, asked_by: tuple[Path, ...]) -> None:
    """Reject other formats, missing bases and errors of syntax before mmengine executes anything."""
    if path.suffix not in ('.py', '.json'):
        raise ConfigError(f'{path} is not a config: expected a Python or JSON file, such as my_config.py.'
                          + _HINTS.get(path.suffix, ''))
    if path in asked_by:
        raise ConfigError(f'{path} is its own base, through ' + ', '.join(map(str, asked_by[1:])) + '.')
    try:
        text = path.read_text(encoding='utf-8')
        bases = _bases(ast.parse(text, filename=str(path))) if path.suffix == '.py' else _bases_of_json(text)
    except SyntaxError as error:
        raise ConfigError(f'{path}, line {error.lineno}: {error.msg}: {(error.text or "").strip()}') from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f'{path} cannot be read: {error}') from error
    for base, line in bases:
        try:
            found = find_config(base, relative_to=path.parent)
        except ConfigError as error:
            raise ConfigError(f'{path}, line {line}: the base {error}') from error
        _check_bases(found.resolve(), (*asked_by, path))


def _bases_of_json(text: str) -> list[tuple[str, int]]:
    found = from_json(text)
    bases = found.get('_base_', []) if isinstance(found, dict) else []
    return [(base, 1) for base in ([bases] if isinstance(bases, str) else bases)]


def _bases(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The bases that a config names literally, as paths, with their lines."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and '_base_' in (getattr(name, 'id', '') for name in node.targets):
            for item in node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]:
                if isinstance(item, ast.Constant) and isinstance(item.value, str) and '{{' not in item.value:
                    yield item.value, item.lineno
        elif isinstance(node, ast.With):  # with read_base(): from .._base_.schedule import *
            for line in node.body:
                if isinstance(line, ast.ImportFrom) and line.module and line.level:
                    yield '../' * (line.level - 1) + line.module.replace('.', '/') + '.py', line.lineno


def _line_in_config(error: BaseException) -> str:
    """Where in a config file an error was raised; mmengine executes configs outside any module."""
    where = ''
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == '<module>' and '__name__' not in frame.f_globals:
            where = f'{frame.f_code.co_filename}, line {line}'
    return where


def _nearest_file(path: Path) -> Path | None:
    """The config with the nearest name below the deepest folder of ``path`` that exists."""
    path = Path(os.path.abspath(path))
    folder = next(parent for parent in path.parents if parent.is_dir())
    if folder == folder.parent:  # none of its folders exists
        return None
    # deep enough for two forgotten folders; deeper, a path outside any project would search the disk
    levels = len(path.relative_to(folder).parts) + 2
    found = [each for depth in range(levels) for each in sorted(folder.glob('*/' * depth + '*.py'))
             if not any(part.startswith(('.', '__')) for part in each.relative_to(folder).parts)]
    stem = nearest(path.stem, {each.stem for each in found})
    return max((each for each in found if each.stem == stem), default=None,
               key=lambda each: SequenceMatcher(None, str(path), str(each)).ratio())


def _shipped_configs(package: str, name: str) -> Path:
    """The folder of the configs of an installed package."""
    if not package.isidentifier():
        raise ConfigError(f"{name}: expected 'package::path/in/its/configs.py'.")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        new = RENAMED.get(package)
        hint = (f" Its configs are part of {new} now: write '{new}::…'." if new else
                did_you_mean(package, filter(find_spec, MODULE2PACKAGE)) or ' Install it, or name a local file.')
        raise ConfigError(f'{name}: the package {package!r} is not installed.{hint}')
    home = Path(next(iter(spec.submodule_search_locations)))
    found = next((each for each in (home / '.mim/configs', home.parent / 'configs') if each.is_dir()), None)
    if found is None:
        raise ConfigError(f'{name}: the package {package!r} is installed without its configs.')
    return found
