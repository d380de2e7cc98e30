"""Models from their configs."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS
from torch import nn

from wsld_plugin.errors import ConfigError

from .load import resolve_model_cfg

__all__ = ['build_model', 'resolve_model_cfg', 'student_model_cfg']


def build_model(cfg: Mapping[str, Any] | nn.Module) -> nn.Module:
    """The model of a config; a built model is returned as it is.

    Raises:
        ConfigError: it has no ``type``; see :func:`resolve_model_cfg` for ``cfg_path``.
    """
    if isinstance(cfg, nn.Module):
        return cfg
    model = resolve_model_cfg(cfg)
    if not model.get('type'):
        raise ConfigError("a model config needs a type (usually 'mmpretrain.ImageClassifier') or a cfg_path; "
                          f'it has {", ".join(map(repr, model)) or "nothing"}.')
    return MODELS.build(model)


def student_model_cfg(architecture: Mapping[str, Any],
                      data_preprocessor: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The config of a student alone, with the data preprocessor of its training.

    Args:
        architecture: the student's config, or ``cfg_path`` with overrides.
        data_preprocessor: that of the training config; None: keep the student's own.

    Returns:
        A self-contained model config. The preprocessor's ``num_classes`` is that of the student's head, and batch
        augmentations (Mixup, CutMix) in the student's ``train_cfg`` are kept.
    """
    cfg = resolve_model_cfg(architecture)
    own = cfg.get('data_preprocessor') or {}
    chosen = resolve_model_cfg(data_preprocessor or own)
    chosen.setdefault('type', own.get('type', 'ClsDataPreprocessor'))
    if chosen['type'].split('.')[-1] == 'ImgDataPreprocessor':  # as in MMRazor's configs
        swaps = [chosen.pop(key, False) for key in ('bgr_to_rgb', 'rgb_to_bgr')]
        chosen.update(type='ClsDataPreprocessor', to_rgb=any(swaps))
    if chosen['type'].split('.')[-1] == 'ClsDataPreprocessor':
        augments = cfg.get('train_cfg') or own.get('batch_augments')
        if augments:
            chosen.setdefault('batch_augments', augments)
        if 'num_classes' in (cfg.get('head') or {}):
            chosen['num_classes'] = cfg['head']['num_classes']
    cfg['data_preprocessor'] = chosen
    return cfg
