"""The student of a training config, as the mmpretrain classifier that it is."""
from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from .build import resolve_model_cfg


def student_model_cfg(architecture: Mapping[str, Any],
                      data_preprocessor: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The config of the student alone, with the data preprocessor that it is trained with.

    Args:
        architecture: the student's config, or ``cfg_path`` with overrides.
        data_preprocessor: the training config's own; without one the student's own is kept.

    Returns:
        A self-contained model config. The preprocessor's ``num_classes`` follows the student's head, and
        batch augmentations (Mixup, CutMix) that the student's ``train_cfg`` asks for are kept.
    """
    cfg = resolve_model_cfg(dict(architecture))
    own = cfg.get('data_preprocessor') or {}
    chosen = copy.deepcopy(dict(data_preprocessor or own))
    chosen.setdefault('type', own.get('type', 'ClsDataPreprocessor'))
    if chosen['type'].split('.')[-1] == 'ClsDataPreprocessor':
        augments = cfg.get('train_cfg') or own.get('batch_augments')
        if augments:
            chosen.setdefault('batch_augments', augments)
        if 'num_classes' in (cfg.get('head') or {}):
            chosen['num_classes'] = cfg['head']['num_classes']
    cfg['data_preprocessor'] = chosen
    return cfg
