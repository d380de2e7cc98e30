"""Reading a config file, with errors that name the file, the line and the nearest name."""
from __future__ import annotations

import ast
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from wsld_plugin.errors import ConfigError

from .paths import find_config

_SUFFIXES = ('.py', '.yml', '.yaml', '.json')  # what mmengine reads
_CHECKPOINTS = ('.pth', '.pt', '.ckpt', '.tar', '.bin', '.safetensors')


def read_config(name: str | Path) -> Config:
    """The config at ``name``: a path, or ``'package::path'``.

    Raises:
        ConfigError: it is no config; it, or a config that it is based on, does not exist or cannot be executed.
    """
    path = find_config(name)
    if path.suffix not in _SUFFIXES:
        order = (' It looks like a checkpoint: the config comes first, then the checkpoint.'
                 if path.suffix in _CHECKPOINTS else '')
        raise ConfigError(f'{name} is no config: a Python file is expected, such as my_config.py.{order}')
    _check_bases(path, asked_by=())
    try:
        return Config.fromfile(path)
    except Exception as error:  # a config is a program: anything may go wrong in it
        line = _line_in_config(error)
        with warnings.catch_warnings():  # mmengine leaves its copy of the file open
            warnings.simplefilter('ignore', ResourceWarning)
            traceback.clear_frames(error.__traceback__)
        raise ConfigError(f'{line or path}: {type(error).__name__}: {error}') from error


def _check_bases(path: Path, asked_by: tuple[Path, ...]) -> None:
    """Refuse missing bases and errors of syntax before mmengine executes anything."""
    if path.suffix != '.py':
        return
    if path in asked_by:
        raise ConfigError(f'{path} is its own base, by way of ' + ', '.join(map(str, asked_by[1:])) + '.')
    try:
        tree = ast.parse(path.read_text(encoding='utf-8'), filename=str(path))
    except SyntaxError as error:
        code = (error.text or '').strip()
        raise ConfigError(f'{path}, line {error.lineno}: {error.msg}: {code}') from error
    for base, line in _bases(tree):
        try:
            found = find_config(base, relative_to=path.parent)
        except ConfigError as error:
            raise ConfigError(f'{path}, line {line}: the base {error}') from error
        _check_bases(found.resolve(), (*asked_by, path))


def _bases(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The bases that a config names literally, as paths, with their lines."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and '_base_' in (getattr(name, 'id', '') for name in node.targets):
            items = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]
            for item in items:
                if isinstance(item, ast.Constant) and isinstance(item.value, str) and '{{' not in item.value:
                    yield item.value, item.lineno
        elif isinstance(node, ast.With):  # with read_base(): from .._base_.schedule import *
            for line in node.body:
                if isinstance(line, ast.ImportFrom) and line.module and line.level:
                    yield '../' * (line.level - 1) + line.module.replace('.', '/') + '.py', line.lineno


def _line_in_config(error: BaseException) -> str:
    """Where in a config file an error arose; mmengine executes configs outside any module."""
    trace, where = error.__traceback__, ''
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name == '<module>' and '__name__' not in frame.f_globals:
            where = f'{frame.f_code.co_filename}, line {trace.tb_lineno}'
        trace = trace.tb_next
    return where
