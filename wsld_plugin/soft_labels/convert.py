"""From a config whose teacher runs in every step to one that reads its soft labels from disk."""
from __future__ import annotations

from typing import Any

from mmengine.config import Config

from wsld_plugin.errors import ConfigError

from .settings import cached_teacher


def use_cached_labels(cfg: Config, **settings: Any) -> None:
    """Let a distillation read cached soft labels, in place; one that does gets the settings.

    Args:
        cfg: a whole training config.
        **settings: ``views``, ``top_k``, ``cache`` and ``make`` of :class:`CachedTeacher`; None: the default, or the
            config's own.

    Raises:
        ConfigError: there is no teacher with a config.

    Teacher, checkpoint and class map move into the `CachedTeacher`, and a `WSLD` that receives the logits is given
    the exact cross entropy of the teacher too.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    model: Any = cfg.get('model') or {}
    if cached_teacher(cfg) is not None:
        model.teacher.update(given)
        return
    if not isinstance(model.get('teacher'), dict) or 'distiller' not in model:
        raise ConfigError(f'{cfg.filename or "the config"} has no model.teacher with a config, or no distiller: '
                          'there are no soft labels to cache.')
    teacher, distiller = model.teacher, model.distiller
    maps = [connector.pop('class_map') for connector in (distiller.get('connectors') or {}).values()
            if connector.get('class_map') is not None]
    if len(maps) > 1 and any(each != maps[0] for each in maps):
        raise ConfigError('the connectors have different class_maps: soft labels can be cached in one only.')
    model.teacher = dict(type='wsld_plugin.CachedTeacher', model=teacher, checkpoint=model.get('teacher_ckpt'),
                         class_map=maps[0] if maps else None, **given)
    model.teacher_ckpt = False
    for name, loss in distiller.distill_losses.items():
        if loss.get('type') == 'wsld_plugin.WSLD':
            distiller.teacher_recorders['teacher_ce'] = dict(type='mmrazor.ModuleOutputs', source='teacher_ce')
            distiller.loss_forward_mappings[name]['teacher_ce'] = dict(recorder='teacher_ce', from_student=False)
