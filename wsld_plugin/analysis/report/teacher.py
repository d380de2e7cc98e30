"""The teacher of a config, whatever its kind, with its weights."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from wsld_plugin.config.data import check_teacher
from wsld_plugin.datasets import KeyedDataset
from wsld_plugin.errors import ConfigError
from wsld_plugin.models.build import build_model
from wsld_plugin.models.export import is_distillation
from wsld_plugin.models.student import student_model_cfg
from wsld_plugin.soft_labels.config import cache_folder, preprocessor_config, use_cached_labels
from wsld_plugin.soft_labels.store import SoftLabels
from wsld_plugin.teachers.network import TeacherNetwork as LiveTeacher


class Teacher(NamedTuple):
    """A teacher, and the preprocessor of the images that it is given.

    Attributes:
        module: images and samples to logits (N, C).
        network: what gives them.
        preprocessor, preprocessor_cfg: built, and as a config.
        about: ``checkpoint``, or ``cache``.
        seed: of the augmentation.
    """

    module: nn.Module
    network: nn.Module
    preprocessor: nn.Module
    preprocessor_cfg: Mapping[str, Any]
    about: dict[str, str]
    seed: int = 0


def find_teacher(cfg: Config, config: str, checkpoint: str | None, split: str, dataset: KeyedDataset) -> Teacher:
    """Build and load it; its arguments and errors are those of ``find_subject``."""
    if is_distillation(cfg):
        use_cached_labels(cfg)  # teacher, checkpoint and class map in one place
        settings, seen = cfg.model.teacher, preprocessor_config(cfg)
        if not settings.get('model'):
            return _from_cache(cfg, config, checkpoint, split, dataset, seen)
        if checkpoint is not None and settings.get('checkpoint') is False:
            raise ConfigError(f'checkpoint {checkpoint!r} was given, but the teacher of this config loads its own '
                              'weights or has none: leave it out.')
        if checkpoint is not None:
            settings.checkpoint = checkpoint
        model, class_map, weights = settings.model, settings.get('class_map'), settings.get('checkpoint')
        check_teacher(cfg)
    else:
        model = student_model_cfg(cfg.model, cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor'))
        seen = {key: value for key, value in model['data_preprocessor'].items() if key != 'batch_augments'}
        model, class_map, weights = {**model, 'data_preprocessor': seen}, None, checkpoint
    if weights is not False and not isinstance(weights, str):
        raise ConfigError(f'{config} names no trained weights: give the checkpoint behind it, such as '
                          'work_dirs/NAME/model_last.pth.')
    preprocessor = _preprocessor(seen)
    teacher = LiveTeacher(model, weights, class_map, preprocessor, seen)
    return Teacher(teacher, teacher.model, preprocessor, seen,
                   dict(checkpoint=weights) if weights else {})


def _from_cache(cfg: Config, config: str, checkpoint: str | None, split: str, dataset: KeyedDataset,
                seen: Mapping[str, Any]) -> Teacher:
    """The soft labels themselves, where the config names no network."""
    if checkpoint is not None:
        raise ConfigError(f'checkpoint {checkpoint!r} was given, but the config names a cache and no network: leave '
                          'it out.')
    if split != 'train':
        raise ConfigError('the config names a cache and no network: there are soft labels for the training images '
                          'alone. Take --split train.')
    work_dir = cfg.get('work_dir') or Path('work_dirs') / Path(config).stem
    labels = SoftLabels(cache_folder(cfg, work_dir))
    if labels.header.num_samples != len(dataset):
        raise ConfigError(f'{labels.folder} has soft labels of {labels.header.num_samples:,} images and the training '
                          f'set has {len(dataset):,}: they are of another data set.')
    teacher = build_model(dict(cfg.model.teacher)).eval()
    cast(Any, teacher).open(labels)
    return Teacher(teacher, teacher, _preprocessor(seen), seen, dict(cache=str(labels.folder)), labels.header.seed)


def _preprocessor(seen: Mapping[str, Any]) -> nn.Module:
    return MODELS.build({'_scope_': 'mmpretrain', **seen})
