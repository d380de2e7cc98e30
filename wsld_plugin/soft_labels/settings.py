"""What a training config says about cached soft labels."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsld_plugin.config.models import resolve_model_cfg, student_model_cfg
from wsld_plugin.connectors.class_map import load_class_map
from wsld_plugin.errors import ConfigError
from wsld_plugin.teachers.cached import check_settings

from .header import DTYPE, FORMAT
from .source import teacher_config

_FOLDER = 'soft_labels'


def cached_teacher(cfg: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The config's `CachedTeacher`; None where it has none."""
    model = cfg.get('model')
    teacher = model.get('teacher') if isinstance(model, Mapping) else None
    kind = teacher.get('type') if isinstance(teacher, Mapping) else None
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return teacher if name.split('.')[-1] == 'CachedTeacher' else None


def cache_folder(cfg: Mapping[str, Any], work_dir: str | Path) -> Path:
    """Where the soft labels are, or shall be."""
    return Path((cached_teacher(cfg) or {}).get('cache') or Path(work_dir) / _FOLDER).expanduser()


def check_cached(cfg: Config) -> None:
    """Refuse a config whose soft labels cannot be known before training.

    Raises:
        ConfigError: naming the setting and what to do.
    """
    teacher, model = cached_teacher(cfg), cfg.model
    if teacher is None:
        return
    check_settings(teacher)
    if model.get('teacher_bn', 'eval') != 'eval':
        raise ConfigError(f'model.teacher_bn={model.teacher_bn!r} with a CachedTeacher: such soft labels depend on '
                          "the other images of the batch and cannot be cached. Write teacher_bn='eval'.")
    if _preprocessor(cfg).get('batch_augments'):
        raise ConfigError('batch_augments (Mixup, CutMix) with a CachedTeacher: mixed images have soft labels of '
                          'their own, which are not in a cache. Leave one of the two out.')
    if (cfg.get('randomness') or {}).get('seed') is None:
        raise ConfigError('randomness.seed is None with a CachedTeacher: the augmentation that was cached is '
                          'repeated from the seed. Write randomness=dict(seed=0).')
    for hook in [*(cfg.get('custom_hooks') or []), *(cfg.get('default_hooks') or {}).values()]:
        if hook and 'SwitchRecipeHook' in str(hook.get('type')):
            raise ConfigError('SwitchRecipeHook with a CachedTeacher: it changes the augmentation in the middle of '
                              'the run, and the cache has one. Leave one of the two out.')
    for name, connector in (model.distiller.get('connectors') or {}).items():
        if name in _from_head(model.distiller)[1] and connector.get('class_map') is not None:
            raise ConfigError(f'model.distiller.connectors.{name}.class_map with a CachedTeacher: its soft labels '
                              "are in the student's classes. Write the map as model.teacher.class_map.")
    classes, top_k = _num_classes(cfg), teacher.get('top_k')
    if top_k and classes and top_k >= classes:
        raise ConfigError(f'CachedTeacher: top_k={top_k}, but the student has {classes} classes: leave top_k out to '
                          'keep all.')
    _tau(cfg)


def needed_by(cfg: Config) -> dict[str, Any]:
    """The fields of a `Header` that a config tells."""
    teacher = cached_teacher(cfg)
    assert teacher is not None
    class_map, seen = teacher.get('class_map'), preprocessor_config(cfg)
    needed = dict(
        format=FORMAT, dtype=DTYPE, teacher_bn='eval', views=teacher.get('views', 1), top_k=teacher.get('top_k'),
        class_map=None if class_map is None else tuple(load_class_map(class_map)), seed=cfg.randomness.seed,
        tau=_tau(cfg), data_preprocessor=_hash(seen),
        # the wrapper counts: augmentation on the device has other random numbers
        pipeline=_hash([str(cfg.train_dataloader.dataset.get('type')), *_pipelines(cfg.train_dataloader.dataset)]))
    if _num_classes(cfg):
        needed['num_classes'] = _num_classes(cfg)
    if teacher.get('model'):
        needed['teacher_config'] = _hash(teacher_config(teacher['model'], seen))
    return needed


def preprocessor_config(cfg: Config) -> dict[str, Any]:
    """What the student's model does with a batch, without batch augmentation."""
    return {key: value for key, value in _preprocessor(cfg).items() if key != 'batch_augments'}


def _preprocessor(cfg: Config) -> dict[str, Any]:
    student = cfg.model.architecture
    if not isinstance(student, Mapping):
        raise ConfigError('a CachedTeacher needs the student as a config, not as a built model.')
    return student_model_cfg(student, cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor')
                             )['data_preprocessor']


def _num_classes(cfg: Config) -> int | None:
    """The student's, as far as its config tells."""
    return (resolve_model_cfg(dict(cfg.model.architecture)).get('head') or {}).get('num_classes')


def _tau(cfg: Config) -> float | None:
    """Of the losses that receive the soft labels; None where all logits are kept: they serve any."""
    top_k = (cached_teacher(cfg) or {}).get('top_k')
    if not top_k:
        return None
    losses = cfg.model.distiller.distill_losses
    taus = sorted({float(losses[name].get('tau', 1.0)) for name in _from_head(cfg.model.distiller)[0]})
    if len(taus) != 1:
        raise ConfigError(f'CachedTeacher: top_k={top_k} keeps the mass of the other classes at one temperature, but '
                          f'the losses that receive its logits have {taus or "none"}. Leave top_k out to keep all.')
    return taus[0]


def _from_head(distiller: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Names of the losses, and of the connectors before them, that receive the logits of the teacher's head."""
    losses, connectors = set(), set()
    recorders = distiller.get('teacher_recorders') or {}
    for loss, mapping in (distiller.get('loss_forward_mappings') or {}).items():
        for record in mapping.values():
            if not record['from_student'] and recorders.get(record['recorder'], {}).get('source') == 'head':
                losses.add(loss)
                connectors.add(record.get('connector'))
    return losses, connectors


def _pipelines(dataset: Any) -> Iterator[Any]:
    """Every pipeline in a data set's config, also inside wrappers."""
    if isinstance(dataset, Mapping):
        for key, value in sorted(dataset.items()):
            yield from [value] if key == 'pipeline' else _pipelines(value)
    elif isinstance(dataset, (list, tuple)):
        for value in dataset:
            yield from _pipelines(value)


def _hash(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
