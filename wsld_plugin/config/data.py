"""Whether the files that a config names are there and fit, before anything is built."""
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.models.build import resolve_model_cfg


def check_data(cfg: Config) -> None:
    """Refuse folders of images that do not exist, hold no file, or disagree in their classes.

    Looked at are local folders: ``data_root`` of every data set in the loaders that are in use, and in it
    ``data_prefix``, or ``split`` for ImageNet's layout. Where the classes of a data set are the names of its
    sub-folders, all loaders must have the same, as many as the classifier has.

    Raises:
        ConfigError: naming the loader, the folder, and what is expected in it.
    """
    classes: dict[Path, list[str]] = {}
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if loader is None or cfg.get(f'{split}_cfg') is None:
            continue
        for dataset in _datasets(loader.get('dataset')):
            folder = _folder(dataset)
            _check_folder(Path(dataset['data_root']), folder, f'{split}_dataloader')
            if _classes_are_folders(dataset):
                classes[folder] = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    _check_classes(classes, _class_count(cfg))


def check_teacher(cfg: Config) -> None:
    """Refuse a teacher's checkpoint that is named as a local file and is not there.

    Raises:
        ConfigError: naming the nearest file.
    """
    path = cfg.model.get('teacher_ckpt')
    if not isinstance(path, str) or '://' in path or Path(path).expanduser().is_file():
        return
    folder = Path(path).expanduser().parent
    beside = os.listdir(folder) if folder.is_dir() else []
    raise ConfigError(f'model.teacher_ckpt={path!r}: there is no such file.{did_you_mean(Path(path).name, beside)} '
                      'The first lines of the config tell where this teacher comes from.')


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


def _folder(dataset: Mapping[str, Any]) -> Path:
    prefix = dataset.get('data_prefix') or dataset.get('split') or ''
    if isinstance(prefix, Mapping):
        prefix = prefix.get('img_path', '')
    return Path(dataset['data_root']) / str(prefix)


def _classes_are_folders(dataset: Mapping[str, Any]) -> bool:
    named = dataset.get('classes') or (dataset.get('metainfo') or {}).get('classes')
    return str(dataset.get('type')).endswith('CustomDataset') and not dataset.get('ann_file') and not named


def _class_count(cfg: Config) -> int | None:
    model = cfg.model.get('architecture', cfg.model)
    if not isinstance(model, Mapping):
        return None
    return (resolve_model_cfg(model).get('head') or {}).get('num_classes')


def _check_folder(root: Path, folder: Path, where: str) -> None:
    wanted = f'Expected images in {folder}/<class>/; set {where}.dataset.data_root to where they are.'
    if not folder.is_dir():
        missing = next(path for path in (*reversed(folder.parents), folder) if not path.exists())
        near = os.listdir(missing.parent) if missing.parent.is_dir() else []
        raise ConfigError(f'{where}: {missing} does not exist. {wanted}{did_you_mean(missing.name, near)}')
    if not any(files for _, _, files in os.walk(folder)):
        raise ConfigError(f'{where}: {folder} is empty. {wanted}')


def _check_classes(classes: Mapping[Path, list[str]], count: int | None) -> None:
    for folder, names in classes.items():
        if count is not None and len(names) != count:
            raise ConfigError(f'{folder} has {len(names)} class folders, but the classifier has {count} classes: '
                              f'write head=dict(num_classes={len(names)}), or take folders away.')
        first, expected = next(iter(classes.items()))
        if names != expected:
            differ = sorted(set(names) ^ set(expected))
            raise ConfigError(f'{first} and {folder} have different class folders: {", ".join(differ[:6])}. A label '
                              'is the place of a folder among the sorted names, so both must have the same.')
