"""Whether the files that a config names are there and fit, before anything is built."""
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsld_plugin.datasets.packed import Pack
from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.models.build import resolve_model_cfg


def check_data(cfg: Config) -> None:
    """Refuse folders of images that do not exist, hold no file, or disagree in their classes; and hidden labels.

    Looked at are local folders: ``data_root`` of every data set in the loaders that are in use, and in it
    ``data_prefix``, or ``split`` for ImageNet's layout and for packed folders. Where the classes of a data set are
    the names of its sub-folders or those of a packed folder, all loaders must have the same, as many as the
    classifier has; for packed ones ``data_preprocessor.num_classes`` counts too. A validation or a test needs the
    labels that `PartialLabels` and `FewLabels` hide, and a student's own loss at least some of them: without a label
    an accuracy or a cross entropy is 0.

    Raises:
        ConfigError: naming the loader, the folder, and what is expected in it.
    """
    classes: dict[Path, list[str]] = {}
    packed = False
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if loader is None or cfg.get(f'{split}_cfg') is None:
            continue
        if split == 'train':
            _check_learnable(cfg.model, loader.get('dataset'))
        else:
            _check_labelled(loader.get('dataset'), f'{split}_dataloader')
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
        if Path(path).expanduser().is_dir():
            raise ConfigError(f'model.{name}={path!r} is a folder, expected a checkpoint; name a file in it.')
        folder = Path(path).expanduser().parent
        beside = os.listdir(folder) if folder.is_dir() else []
        raise ConfigError(f'model.{name}={path!r}: there is no such file.{did_you_mean(Path(path).name, beside)} '
                          + _where_from(cfg.model, Path(path)))


def _where_from(model: Mapping[str, Any], checkpoint: Path) -> str:
    """The command that trains a teacher whose config and folder of checkpoints have one name, as those here have."""
    for part in _dicts(model.get('teacher')):
        config = part.get('cfg_path')
        if isinstance(config, str) and Path(config).stem == checkpoint.parent.name:
            return f'Train it: python tools/train.py {os.path.relpath(config)}'
    return 'The first lines of the config tell where this teacher comes from.'


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


def _dicts(cfg: Any) -> Iterator[Mapping[str, Any]]:
    """Every dict in a part of a config, from outside inwards."""
    if isinstance(cfg, Mapping):
        yield cfg
    if isinstance(cfg, (Mapping, list, tuple)):
        for value in cfg.values() if isinstance(cfg, Mapping) else cfg:
            yield from _dicts(value)


def _datasets(cfg: Any) -> Iterator[Mapping[str, Any]]:
    """Every data set with a local root, also inside wrappers."""
    for part in _dicts(cfg):
        root = part.get('data_root')
        if isinstance(root, str) and root and '://' not in root:
            yield part


def _check_labelled(dataset: Any, where: str) -> None:
    for part in _dicts(dataset):
        kind = _kind(part)
        if kind == 'PartialLabels' or (kind == 'FewLabels' and part.get('rest', True)):
            raise ConfigError(f'{where}: {kind} hides labels, and what is predicted could not be compared with them: '
                              f'the accuracy would be 0. Measure on labelled images: write {where}.dataset without '
                              f'{kind}{", or with rest=False" if kind == "FewLabels" else ""}.')


def _check_learnable(model: Mapping[str, Any], dataset: Any) -> None:
    """Of data sets that are joined, another may have labels; so no further than wrappers go."""
    while isinstance(dataset, Mapping) and _kind(dataset) != 'PartialLabels':
        dataset = dataset.get('dataset')
    weight_of_labels = dict(SoftLabelDistill=model.get('hard_weight', 1.0), ImageClassifier=1.0)
    if isinstance(dataset, Mapping) and weight_of_labels.get(_kind(model)):
        raise ConfigError('train_dataloader: PartialLabels hides every label, so that the loss of the labels would '
                          'be 0 in every step. Learn from its soft labels alone: model=dict(hard_weight=0.0) in a '
                          'distillation with a wsld_plugin.GivenTeacher.')


def _folder(dataset: Mapping[str, Any]) -> Path:
    prefix = dataset.get('data_prefix') or dataset.get('split') or ''
    if isinstance(prefix, Mapping):
        prefix = prefix.get('img_path', '')
    return Path(dataset['data_root']) / str(prefix)


def _classes_are_folders(dataset: Mapping[str, Any]) -> bool:
    named = dataset.get('classes') or (dataset.get('metainfo') or {}).get('classes')
    return str(dataset.get('type')).endswith('CustomDataset') and not dataset.get('ann_file') and not named


def _is_packed(dataset: Mapping[str, Any]) -> bool:
    return _kind(dataset).endswith('PackedDataset')


def _kind(part: Mapping[str, Any]) -> str:
    """The name of a type, without its scope or module."""
    kind = part.get('type')
    return (kind if isinstance(kind, str) else getattr(kind, '__name__', '')).split('.')[-1]


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
