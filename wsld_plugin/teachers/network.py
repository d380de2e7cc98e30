"""A trained network as a teacher: built, loaded, frozen, with its normalisation and its class map."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wsld_plugin.config.models import build_model, resolve_model_cfg
from wsld_plugin.connectors import ClassMap, LogitConnector
from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.models.checkpoint import load_classifier

from .renormalize import renormalize

BN_MODES = ('eval', 'train')

# Heads, and their subclasses, that do not return one (N, C) tensor of logits for one softmax, and what to do instead.
_UNFIT = {
    'ConformerHead': "it returns the logits of two branches; record one of them: source='head.conv_cls_head' "
                     "or source='head.trans_cls_head'",
    'ArcFaceClsHead': 'its logits carry a margin for the labelled class; use a LinearClsHead',
    'MultiTaskHead': "it returns a dict of tasks; record one task's head: source='head.task_heads.<task>'",
    'MultiLabelClsHead': 'its classes are independent sigmoids; soft labels of a softmax do not apply',
}
# Classifiers without a submodule `head`, and the submodule whose output is the logits.
_HEADLESS = {'TimmClassifier': "source='model' (and source='loss_module' for the target)"}


class TeacherNetwork(nn.Module):
    """Images as the student sees them to the logits of a frozen teacher, in the student's classes.

    The teacher sees the images in its own normalisation and channel order. Building it leaves the random state of
    the process unchanged. It stays in eval mode, except for BatchNorm if ``bn='train'``.

    Args:
        model: a model config, ``dict(cfg_path='mmpretrain::…', **overrides)`` or a built model.
        checkpoint: file or URL of its weights (see :func:`wsld_plugin.models.checkpoint.load_classifier`), or
            ``False`` for a model that is used as it is initialised, has no weights or loads its own.
        class_map: the teacher's index of each student class, see :class:`LogitConnector`.
        sees: the data preprocessor of the images that are given, built.
        default: its config or itself, for a ``model`` without a ``data_preprocessor``, which sees the same.
        recorders: what a distiller records of it; None: the output of its head.
        role, key: the names of the teacher and of its checkpoint in messages.
        init: False: the caller forks the random state and calls :meth:`init_weights`.
        bn: ``'eval'``, or ``'train'``: in training, BatchNorm normalises with the statistics of the batch and updates
            its running statistics, as in the authors' code of WSLD.

    Raises:
        ConfigError: the model, its head, its normalisation or its class map does not fit.
        CheckpointError, FileNotFoundError: the weights cannot be read or do not fit.
    """

    def __init__(self, model: Mapping[str, Any] | nn.Module, checkpoint: str | bool, class_map: ClassMap | None,
                 sees: nn.Module, default: Any = None, *, recorders: Mapping[str, Any] | None = None,
                 role: str = 'teacher', key: str = 'checkpoint', init: bool = True, bn: str = 'eval') -> None:
        super().__init__()
        self.checkpoint, self.bn = checkpoint, bn
        cfg = teacher_config(model, default) if isinstance(model, Mapping) else model
        own = default is None or isinstance(cfg, nn.Module) or cfg['data_preprocessor'] is not default
        with torch.random.fork_rng(devices=[], enabled=init):
            self.model = cast(BaseModel, build_model(cfg))
            reason = getattr(self.model, 'no_checkpoint', None)
            if checkpoint and reason:
                raise ConfigError(f'{key}={checkpoint!r}: {reason}. Write {key}=False.')
            if init:
                self.init_weights()
        if recorders is not None:
            check_sources(self.model, recorders, 'teacher')
        elif getattr(self.model, 'head', None) is not None:  # without a head, its output is checked in the first step
            _check_head(self.model.head, 'teacher', ' Here the output of the head itself is read.')
        self.connector = LogitConnector(class_map)
        classes = head_classes(self.model)
        self.num_classes = self.connector.num_classes or classes
        if classes and self.num_classes:
            self.connector.check(classes, self.num_classes)
        self.renormalize = (renormalize(sees, cast(nn.Module, self.model.data_preprocessor))
                            if own and getattr(self.model, 'sees_images', True) else None)
        if checkpoint:
            load_classifier(self.model, str(checkpoint), role=role)
        self.requires_grad_(False).eval()

    def init_weights(self) -> None:
        """Initialise a model without a checkpoint."""
        if not self.checkpoint:
            self.model.init_weights()

    def train(self, mode: bool = True) -> TeacherNetwork:
        """Set the mode of BatchNorm if ``bn='train'``; all other modules, dropout included, stay in eval mode."""
        super().train(False)
        if mode and self.bn == 'train':
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.train()
        return self

    def run(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> Any:
        """The output of the model, as it is."""
        if self.renormalize is not None:
            inputs = self.renormalize(inputs)
        return self.model(inputs, data_samples, mode='tensor')

    def forward(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> Tensor:
        """The logits (N, C) in the student's classes, float32 or float64."""
        return self.connector(self.run(inputs, data_samples))


def teacher_config(model: Mapping[str, Any], default: Any) -> dict[str, Any]:
    """The complete config of a teacher, with ``default`` as its ``data_preprocessor`` if it has none of its own."""
    cfg = resolve_model_cfg(dict(model))
    if not cfg.get('data_preprocessor') and default is not None:
        cfg['data_preprocessor'] = default
    return cfg


def check_sources(model: nn.Module, recorders: Mapping[str, Mapping[str, Any]] | None, role: str) -> None:
    """Raise :class:`ConfigError` for recorders without a module, and for heads that do not return (N, C) logits.

    ``recorders`` are MMRazor's configs by name; ``role`` is ``'student'`` or ``'teacher'``.
    """
    modules = dict(model.named_modules())
    for name, recorder in (recorders or {}).items():
        source = recorder.get('source', '')
        if not str(recorder.get('type', '')).split('.')[-1].startswith('Module'):
            continue  # functions, methods and parameters are not looked up in the model
        if source not in modules:
            instead = _HEADLESS.get(type(model).__name__)
            raise ConfigError(f'{role} recorder {name!r}: {type(model).__name__} has no submodule {source!r}.'
                              + (f' Write {instead}.' if instead else did_you_mean(source, modules)))
        if source == 'head':
            _check_head(modules['head'], role)


def head_classes(model: nn.Module) -> int | None:
    """The number of classes that a classifier's head declares, or None."""
    count = getattr(getattr(model, 'head', None), 'num_classes', None)
    return count if isinstance(count, int) and count > 0 else None


def _check_head(head: nn.Module, role: str, note: str = '') -> None:
    for kind in type(head).__mro__:
        if kind.__name__ in _UNFIT:
            raise ConfigError(f"the {role}'s {type(head).__name__} does not fit source='head': "
                              f'{_UNFIT[kind.__name__]}.{note}')
    if role == 'student' and getattr(head, 'distillation', False):
        raise ConfigError(f"the student's {type(head).__name__} has distillation=True: it returns two outputs while "
                          'training; write head=dict(distillation=False).')
