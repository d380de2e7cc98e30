"""Where a config file is: a path, or ``package::path`` inside an installed OpenMMLab package."""
from __future__ import annotations

import os
from difflib import SequenceMatcher
from importlib.util import find_spec
from pathlib import Path

from mmengine.config.utils import MODULE2PACKAGE

from wsld_plugin.errors import ConfigError, did_you_mean

# mmpretrain took these packages over.
RENAMED = {'mmcls': 'mmpretrain', 'mmselfsup': 'mmpretrain'}


def find_config(name: str | Path, relative_to: str | Path = '.') -> Path:
    """The file that a config path means.

    Args:
        name: a path, or ``'mmpretrain::resnet/resnet18_8xb32_in1k.py'`` for a config that an installed
            package ships. Nothing is downloaded or installed.
        relative_to: the folder that a relative path starts from.

    Raises:
        ConfigError: no such package or file; the message names the nearest file that exists.
    """
    name = str(name)
    if '::' in name:
        package, _, inside = name.partition('::')
        root, prefix = _shipped_configs(package, name), f'{package}::'
        path = root / inside
    else:
        root, prefix = Path(relative_to), ''
        path = root / Path(name).expanduser()
    if path.is_file():
        return path
    what = 'is a folder, not a config file' if path.is_dir() else 'does not exist'
    if not prefix:
        shipped = _shipped_by_name(path.stem)
        if shipped:
            raise ConfigError(f'{name} {what}. mmpretrain has a config of that name: write {shipped!r}.')
    found = nearest_file(path)
    if found is None:
        raise ConfigError(f'{name} {what}, and no config near it has a like name.')
    shown = os.path.relpath(found, root) if prefix or not Path(name).is_absolute() else str(found)
    raise ConfigError(f'{name} {what}. Did you mean {prefix + shown!r}?')


def _shipped_by_name(stem: str) -> str | None:
    """The path that means mmpretrain's config of this name, as its model zoo lists it."""
    root = _shipped_configs('mmpretrain', 'mmpretrain')
    found = next((path for path in sorted(root.rglob('*.py')) if path.stem == stem), None)
    return f'mmpretrain::{found.relative_to(root).as_posix()}' if found else None


def nearest_file(path: Path) -> Path | None:
    """The file most like ``path`` in place and name, below the deepest of its folders that exists."""
    path = Path(os.path.abspath(path))
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    if folder == folder.parent:  # not even one folder of it exists
        return None
    wanted = path.relative_to(folder).as_posix()

    def likeness(candidate: Path) -> float:
        place = SequenceMatcher(None, wanted, candidate.relative_to(folder).as_posix()).ratio()
        return max(place, SequenceMatcher(None, path.stem, candidate.stem).ratio()) + 0.01 * place

    suffixes = {path.suffix or '.py', '.py'}
    # Deep enough for two forgotten folders; deeper, a path outside any project would search the disk.
    candidates = _files_below(folder, depth=wanted.count('/') + 3, suffixes=suffixes)
    best = max(candidates, key=likeness, default=None)
    return best if best is not None and likeness(best) >= 0.6 else None


def _files_below(folder: Path, depth: int, suffixes: set[str]) -> list[Path]:
    found = []
    for here, folders, files in os.walk(folder):
        level = len(Path(here).relative_to(folder).parts) + 1
        folders[:] = sorted(name for name in folders if not name.startswith(('.', '__')) and level < depth)
        found += [Path(here) / name for name in sorted(files) if Path(name).suffix in suffixes]
    return found


def _shipped_configs(package: str, name: str) -> Path:
    """The folder of the configs of an installed package."""
    if not package.isidentifier():
        raise ConfigError(f"{name}: expected 'package::path/in/its/configs.py'.")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        if package in RENAMED:
            hint = f" Its configs are part of {RENAMED[package]} now: write '{RENAMED[package]}::…'."
        else:
            installed = filter(find_spec, MODULE2PACKAGE)
            hint = did_you_mean(package, installed) or ' Install it, or name a local file.'
        raise ConfigError(f'{name}: the package {package!r} is not installed.{hint}')
    home = Path(next(iter(spec.submodule_search_locations)))
    for folder in (home / '.mim' / 'configs', home.parent / 'configs'):
        if folder.is_dir():
            return folder
    raise ConfigError(f'{name}: the package {package!r} is installed without its configs.')
