"""Export of a trained classifier: a plain mmpretrain checkpoint and the config that builds it."""
from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from wsld_plugin.compat.safe_checkpoints import safe_load
from wsld_plugin.config.load import custom_imports
from wsld_plugin.config.models import student_model_cfg
from wsld_plugin.files import write_atomically

from .checkpoint import classifier_state

_TEST_KEYS = ('test_dataloader', 'test_cfg', 'test_evaluator')
_META_KEYS = ('epoch', 'iter', 'time', 'dataset_meta', 'mmengine_version')


def is_distillation(cfg: Config) -> bool:
    """Whether the model of a training config is an algorithm with a student, not a classifier."""
    return 'architecture' in cfg.model


def classifier_config(cfg: Config) -> Config:
    """The config of the trained classifier, from the config that trained it, a distillation or a plain classifier.

    It is self-contained, with ``model`` and the keys for testing, without teacher and distiller. It imports what
    ``custom_imports`` of the training names, and this package if the classifier or its test set uses a part of it.
    Where the test set alone does, the model can be built without this package.
    """
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor')
    model = student_model_cfg(cfg.model['architecture'] if is_distillation(cfg) else cfg.model, preprocessor)
    model.pop('_scope_', None)
    parts: dict[str, Any] = dict(default_scope='mmpretrain', model=model)
    parts.update({key: cfg[key] for key in _TEST_KEYS if cfg.get(key) is not None})
    parts = Config(parts).to_dict()
    own = [module for module in custom_imports(cfg) if module != 'wsld_plugin']
    model_uses, any_uses = ('wsld_plugin.' in json.dumps(part, default=str) for part in (parts['model'], parts))
    if own or any_uses:
        parts['custom_imports'] = dict(imports=own + ['wsld_plugin'] * any_uses,
                                       allow_failed_imports=not (own or model_uses))
    return Config(parts)


def export_classifier(checkpoint_path: str, cfg: Config, out_dir: str | Path, which: str) -> None:
    """Write the classifier in a training checkpoint as a checkpoint of its own, with its config.

    Args:
        checkpoint_path: the training checkpoint, just written. It is read back, so that the export equals the file.
        cfg: the config that trained it.
        out_dir: the folder for ``student_<which>.pth`` and ``student.py`` (``model_…`` without distillation).
        which: ``'last'`` or ``'best'``.
    """
    name = 'student' if is_distillation(cfg) else 'model'
    checkpoint = safe_load(checkpoint_path)
    meta = {key: value for key, value in checkpoint.get('meta', {}).items() if key in _META_KEYS}
    buffer = io.BytesIO()
    torch.save(dict(meta=meta, state_dict=classifier_state(checkpoint)[0]), buffer)
    write_atomically(Path(out_dir) / f'{name}_{which}.pth', buffer.getvalue())
    config_path = Path(out_dir) / f'{name}.py'
    if not isinstance(cfg.model.get('architecture', {}), dict):
        print_log(f'{config_path} is not written: the student was given as a built model.', logger='current')
    else:
        write_atomically(config_path, classifier_config(cfg).pretty_text.encode())
