"""Whether the files that a config names are there and fit, before anything is built."""
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsld_plugin.datasets.pack_format import Pack
from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.models.build import resolve_model_cfg


def check_data(cfg: Config) -> None:
    """Refuse folders of images that do not exist, hold no file, or disagree in their classes.

    Looked at are local folders: ``data_root`` of every data set in the loaders that are in use, and in it
    ``data_prefix``, or ``split`` for ImageNet's layout and for packed folders. Where the classes of a data set are
    the names of its sub-folders or those of a packed folder, all loaders must have the same, as many as the
    classifier has; for packed ones ``data_preprocessor.num_classes`` counts too.

    Raises:
        ConfigError: naming the loader, the folder, and what is expected in it.
    """
    classes: dict[Path, list[str]] = {}
    packed = False
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if loader is None or cfg.get(f'{split}_cfg') is None:
            continue
        for dataset in _datasets(loader.get('dataset')):
            if _is_packed(dataset):
                packed = True
                folder = Path(dataset['data_root']).expanduser() / dataset.get('split', 'train')
                classes[folder] = _packed_classes(folder, f'{split}_dataloader')
                continue
            folder = _folder(dataset)
            _check_folder(Path(dataset['data_root']), folder, f'{split}_dataloader')
            if _classes_are_folders(dataset):
                classes[folder] = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    _check_classes(classes, _class_count(cfg), 'classes' if packed else 'class folders')
    if packed:
        _check_preprocessor(cfg, classes)


def check_teacher(cfg: Config) -> None:
    """Refuse a checkpoint of the teacher, or of a member of it, that is named as a local file and is not there.

    Raises:
        ConfigError: naming the nearest file.
    """
    for name, path in _teacher_files(cfg.model):
        if not isinstance(path, str) or '://' in path or Path(path).expanduser().is_file():
            continue
        folder = Path(path).expanduser().parent
        beside = os.listdir(folder) if folder.is_dir() else []
        raise ConfigError(f'model.{name}={path!r}: there is no such file.{did_you_mean(Path(path).name, beside)} '
                          + _where_from(cfg.model, Path(path)))


def _where_from(model: Mapping[str, Any], checkpoint: Path) -> str:
    """The command that trains a teacher whose config and folder of checkpoints have one name, as those here have."""
    for config in _config_paths(model.get('teacher')):
        if Path(config).stem == checkpoint.parent.name:
            return f'Train it: python tools/train.py {os.path.relpath(config)}'
    return 'The first lines of the config tell where this teacher comes from.'


def _config_paths(teacher: Any) -> Iterator[str]:
    if isinstance(teacher, Mapping):
        if isinstance(teacher.get('cfg_path'), str):
            yield teacher['cfg_path']
        for value in teacher.values():
            yield from _config_paths(value)
    elif isinstance(teacher, (list, tuple)):
        for value in teacher:
            yield from _config_paths(value)


def _teacher_files(model: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Checkpoints by the path of their key: the teacher's, a cached one's, and those of an ensemble's members."""
    yield 'teacher_ckpt', model.get('teacher_ckpt')
    teacher = model.get('teacher')
    if isinstance(teacher, Mapping):
        yield 'teacher.checkpoint', teacher.get('checkpoint')  # of a CachedTeacher
    members = teacher.get('members') if isinstance(teacher, Mapping) else None
    for index, member in enumerate(members if isinstance(members, (list, tuple)) else ()):
        if isinstance(member, Mapping):
            yield f'teacher.members.{index}.checkpoint', member.get('checkpoint')


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


def _is_packed(dataset: Mapping[str, Any]) -> bool:
    kind = dataset.get('type')
    return (kind if isinstance(kind, str) else getattr(kind, '__name__', '')).endswith('PackedDataset')


def _packed_classes(folder: Path, where: str) -> list[str]:
    try:
        return list(Pack(folder).meta.classes)
    except ConfigError as error:
        raise ConfigError(f'{where}: {error}') from None


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


def _check_classes(classes: Mapping[Path, list[str]], count: int | None, kind: str) -> None:
    for folder, names in classes.items():
        if count is not None and len(names) != count:
            raise ConfigError(f'{folder} has {len(names)} {kind}, but the classifier has {count} classes: '
                              f'write head=dict(num_classes={len(names)}), or take other data.')
        first, expected = next(iter(classes.items()))
        if names != expected:
            differ = sorted(set(names) ^ set(expected))
            raise ConfigError(f'{first} and {folder} have different {kind}: '
                              f'{", ".join(differ[:6]) or "the same names in another order"}. A label is a place in '
                              'the list of classes (class folders: sorted by name), so both must have the same.')


def _check_preprocessor(cfg: Config, classes: Mapping[Path, list[str]]) -> None:
    """Mixup and CutMix make targets of as many classes as the preprocessor is told."""
    folder, names = next(iter(classes.items()))
    given = (cfg.get('data_preprocessor') or {}).get('num_classes')
    if given not in (None, len(names)):
        raise ConfigError(f'{folder} has {len(names)} classes, but data_preprocessor.num_classes={given}: write '
                          f'data_preprocessor=dict(num_classes={len(names)}).')
