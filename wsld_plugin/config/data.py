"""Whether the images that a config names are there, before anything is built."""
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsld_plugin.errors import ConfigError, did_you_mean


def check_data(cfg: Config) -> None:
    """Refuse folders of images that do not exist or hold no file.

    Looked at are local folders: ``data_root`` of every data set in the loaders that are in use, and in it
    ``data_prefix``, or ``split`` for ImageNet's layout.

    Raises:
        ConfigError: naming the loader, the folder, and what is expected in it.
    """
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if loader is None or cfg.get(f'{split}_cfg') is None:
            continue
        for dataset in _datasets(loader.get('dataset')):
            root = dataset['data_root']
            prefix = dataset.get('data_prefix') or dataset.get('split') or ''
            if isinstance(prefix, Mapping):
                prefix = prefix.get('img_path', '')
            _check_folder(Path(root), str(prefix), f'{split}_dataloader')


def _datasets(cfg: Any) -> Iterator[Mapping[str, Any]]:
    """Every data set with a local root, also inside wrappers."""
    if isinstance(cfg, Mapping):
        root = cfg.get('data_root')
        if isinstance(root, str) and root and '://' not in root:
            yield cfg
        for value in cfg.values():
            yield from _datasets(value)
    elif isinstance(cfg, (list, tuple)):
        for value in cfg:
            yield from _datasets(value)


def _check_folder(root: Path, prefix: str, where: str) -> None:
    folder = root / prefix
    wanted = f'Expected images in {folder}/<class>/; set {where}.dataset.data_root to where they are.'
    if not folder.is_dir():
        missing = next(path for path in (*reversed(folder.parents), folder) if not path.exists())
        near = os.listdir(missing.parent) if missing.parent.is_dir() else []
        raise ConfigError(f'{where}: {missing} does not exist. {wanted}{did_you_mean(missing.name, near)}')
    if not any(files for _, _, files in os.walk(folder)):
        raise ConfigError(f'{where}: {folder} is empty. {wanted}')
