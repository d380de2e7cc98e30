"""Cached soft labels in a training config: what a cache depends on, what cannot be cached, and the conversion."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsld_plugin.config.models import resolve_model_cfg, student_model_cfg
from wsld_plugin.connectors import load_class_map
from wsld_plugin.errors import ConfigError
from wsld_plugin.teachers.network import teacher_config

from .store import DTYPE, FORMAT
from .teacher import check_settings


def cached_teacher(cfg: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The config of the `CachedTeacher`, or None."""
    model = cfg.get('model')
    teacher = model.get('teacher') if isinstance(model, Mapping) else None
    kind = teacher.get('type') if isinstance(teacher, Mapping) else None
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return teacher if name.split('.')[-1] == 'CachedTeacher' else None


def cache_folder(cfg: Mapping[str, Any], work_dir: str | Path) -> Path:
    """Folder of the soft-label cache."""
    return Path((cached_teacher(cfg) or {}).get('cache') or Path(work_dir) / 'soft_labels').expanduser()


def use_cached_labels(cfg: Config, **settings: Any) -> None:
    """Convert a distillation, in place, to one that reads cached soft labels; update one that does already.

    Teacher, checkpoint and class map move into the `CachedTeacher`, and a `WSLD` that receives the logits is given
    the exact cross entropy of the teacher too.

    Args:
        cfg: a complete training config.
        **settings: ``views``, ``top_k``, ``cache`` and ``make`` of :class:`CachedTeacher`; None: unchanged.

    Raises:
        ConfigError: there is no teacher with a config.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    model: Any = cfg.get('model') or {}
    if cached_teacher(cfg) is not None:
        model.teacher.update(given)
        return
    if not isinstance(model.get('teacher'), dict) or 'distiller' not in model:
        raise ConfigError(f'{cfg.filename or "the config"} has no model.teacher with a config, or no distiller: '
                          'there are no soft labels to cache.')
    distiller = model.distiller
    maps = [connector.pop('class_map') for connector in (distiller.get('connectors') or {}).values()
            if connector.get('class_map') is not None]
    if any(each != maps[0] for each in maps):
        raise ConfigError('the connectors have different class_maps: soft labels can be cached for one only.')
    model.teacher = dict(type='wsld_plugin.CachedTeacher', model=model.teacher, checkpoint=model.get('teacher_ckpt'),
                         class_map=maps[0] if maps else None, **given)
    model.teacher_ckpt = False
    for name, loss in distiller.distill_losses.items():
        if loss.get('type') == 'wsld_plugin.WSLD':
            distiller.teacher_recorders['teacher_ce'] = dict(type='mmrazor.ModuleOutputs', source='teacher_ce')
            distiller.loss_forward_mappings[name]['teacher_ce'] = dict(recorder='teacher_ce', from_student=False)


def check_cached(cfg: Config) -> None:
    """Refuse a config whose soft labels cannot be computed before training.

    Raises:
        ConfigError: naming the setting and what to do.
    """
    teacher, model = cached_teacher(cfg), cfg.get('model')
    if teacher is None:
        return
    check_settings(teacher)
    if not model.get('distiller'):
        raise ConfigError('a CachedTeacher, but no model.distiller with the losses that its soft labels are for.')
    if model.get('teacher_bn', 'eval') != 'eval':
        raise ConfigError(f'model.teacher_bn={model.teacher_bn!r} with a CachedTeacher: such soft labels depend on '
                          "the other images of the batch and cannot be cached. Write teacher_bn='eval'.")
    if preprocessor_config(cfg, augments=True).get('batch_augments'):
        raise ConfigError('batch_augments (Mixup, CutMix) with a CachedTeacher: the soft labels of mixed images are '
                          'not in a cache. Remove one of the two.')
    if (cfg.get('randomness') or {}).get('seed') is None:
        raise ConfigError('randomness.seed is None with a CachedTeacher: the cached augmentation is repeated from '
                          'the seed. Write randomness=dict(seed=0).')
    for hook in [*(cfg.get('custom_hooks') or []), *(cfg.get('default_hooks') or {}).values()]:
        if hook and 'SwitchRecipeHook' in str(hook.get('type')):
            raise ConfigError('SwitchRecipeHook with a CachedTeacher: the hook changes the augmentation during the '
                              'run, and the cache has one augmentation. Remove one of the two.')
    for name, connector in (model.distiller.get('connectors') or {}).items():
        if name in _from_head(model.distiller)[1] and connector.get('class_map') is not None:
            raise ConfigError(f'model.distiller.connectors.{name}.class_map with a CachedTeacher: its soft labels '
                              "are in the student's classes. Write the map as model.teacher.class_map.")
    classes, top_k = _num_classes(cfg), teacher.get('top_k')
    if top_k and classes and top_k >= classes:
        raise ConfigError(f'CachedTeacher: top_k={top_k}, but the student has {classes} classes: remove top_k to '
                          'keep all.')
    _tau(cfg)


def needed_by(cfg: Config) -> dict[str, Any]:
    """The fields of a `Header` that follow from a config."""
    teacher = cached_teacher(cfg)
    assert teacher is not None
    class_map, seen = teacher.get('class_map'), preprocessor_config(cfg)
    needed = dict(
        format=FORMAT, dtype=DTYPE, teacher_bn='eval', views=teacher.get('views', 1), top_k=teacher.get('top_k'),
        class_map=None if class_map is None else tuple(load_class_map(class_map)), seed=cfg.randomness.seed,
        tau=_tau(cfg), data_preprocessor=_hash(seen),
        # with the wrapper: augmentation on the device draws other random numbers
        pipeline=_hash([str(cfg.train_dataloader.dataset.get('type')), *_pipelines(cfg.train_dataloader.dataset)]))
    if classes := _num_classes(cfg):
        needed['num_classes'] = classes
    if teacher.get('model'):
        needed['teacher_config'] = _hash(teacher_config(teacher['model'], seen))
    return needed


def preprocessor_config(cfg: Config, augments: bool = False) -> dict[str, Any]:
    """The config of the student's data preprocessor, without batch augmentation unless asked."""
    if not isinstance(cfg.model.architecture, Mapping):
        raise ConfigError('a CachedTeacher needs the student as a config, not as a built model.')
    given = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor')
    found = student_model_cfg(cfg.model.architecture, given)['data_preprocessor']
    return {key: value for key, value in found.items() if augments or key != 'batch_augments'}


def _num_classes(cfg: Config) -> int | None:
    return (resolve_model_cfg(dict(cfg.model.architecture)).get('head') or {}).get('num_classes')


def _tau(cfg: Config) -> float | None:
    """Temperature of the losses that receive the soft labels; None if all logits are kept, which serve any."""
    top_k = (cached_teacher(cfg) or {}).get('top_k')
    if not top_k:
        return None
    losses = cfg.model.distiller.distill_losses
    taus = sorted({float(losses[name].get('tau', 1.0)) for name in _from_head(cfg.model.distiller)[0]})
    if len(taus) != 1:
        raise ConfigError(f'CachedTeacher: top_k={top_k} keeps the mass of the other classes at one temperature, but '
                          f'the losses that receive its logits have {taus or "none"}. Remove top_k to keep all.')
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
