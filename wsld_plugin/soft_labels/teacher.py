"""A teacher whose soft labels are read from disk."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmpretrain.structures import DataSample
from torch import Tensor, nn

from wsld_plugin.connectors import ClassMap
from wsld_plugin.errors import ConfigError, check_choice, check_integer
from wsld_plugin.registry import MODELS
from wsld_plugin.teachers.from_labels import TeacherFromLabels

from .store import SoftLabels, decode, to_tensors

MAKE = ('never', 'missing')


@MODELS.register_module()
class CachedTeacher(TeacherFromLabels):
    """Soft labels from disk, written by ``tools/cache_soft_labels.py``: docs/caching.md.

    A sample has ``views`` augmentations: in epoch e the sampler of the run repeats the augmentation of view e mod V.
    The submodule ``head`` returns the logits, ``teacher_ce`` the exact cross entropy of the label, (N,) in nats, for
    :class:`WSLD`, also if the logits are truncated. If the config names the network, it is built once before
    training, to compare its weights and a few of its soft labels with the cache. In ``SoftLabelDistill`` write
    ``teacher_ckpt=False`` beside it.

    Args:
        views: V, number of augmentations of each sample; 1 if there is none.
        top_k: number of logits that are kept of each sample; None: all.
        cache: folder of the soft-label cache; None: ``soft_labels`` in the run's folder.
        model: the teacher, a model config or ``dict(cfg_path='mmpretrain::…', **overrides)``; None: unknown.
        checkpoint: file or URL of its weights, or ``False`` for one that loads its own (:class:`EnsembleTeacher`).
        class_map: the teacher's index of each student class, see :class:`LogitConnector`. The cache holds the
            student's classes, so the connector has no map.
        make: if there is no cache, ``'never'``: refuse the run; ``'missing'``: make it first, in one process.
        data_preprocessor: given to a ``model`` that has none of its own.
        init_cfg: as for any mmengine model.

    Raises:
        ConfigError: an invalid argument.
    """

    def __init__(self, views: int = 1, top_k: int | None = None, cache: str | None = None,
                 model: Mapping[str, Any] | None = None, checkpoint: str | bool | None = None,
                 class_map: ClassMap | None = None, make: str = 'never', data_preprocessor: Any = None,
                 init_cfg: dict | None = None) -> None:
        check_settings(dict(views=views, top_k=top_k, model=model, checkpoint=checkpoint, make=make))
        super().__init__(_Logits(), init_cfg)
        self.no_checkpoint += '; those of the network go to teacher.checkpoint'
        self.labels: SoftLabels | None = None
        self.teacher_ce = nn.Identity()

    def open(self, labels: SoftLabels) -> None:
        """Serve these soft labels from now on."""
        self.labels = labels
        self.head.num_classes, self.head.tau = labels.header.num_classes, labels.header.tau

    def soft_labels(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> Mapping[str, Tensor]:
        """The fields of the records of N samples."""
        if self.labels is None:
            raise ValueError('the CachedTeacher has no soft labels yet: train with tools/train.py, or add '
                             "default_hooks=dict(soft_labels=dict(type='wsld_plugin.SoftLabelsHook')).")
        if not data_samples or not all('sample_key' in sample for sample in data_samples):
            raise ValueError('a CachedTeacher identifies the samples of the training set by their sample_key, which '
                             'these do not have: it can teach on a wsld_plugin.KeyedDataset only.')
        fields = to_tensors(self.labels.rows([sample.sample_key for sample in data_samples]), inputs.device)
        self.teacher_ce(fields['teacher_ce'])
        return fields


class _Logits(nn.Module):
    """The fields of N records to logits (N, C): a module of its own, so that it can be recorded."""

    num_classes: int | None = None
    tau: float | None = None

    def forward(self, fields: Mapping[str, Tensor]) -> Tensor:
        assert self.num_classes is not None
        return decode(fields, self.num_classes, self.tau)


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise :class:`ConfigError` for invalid arguments of a `CachedTeacher`."""
    check_integer('CachedTeacher: views', settings.get('views', 1), 1)
    if settings.get('top_k') is not None:
        check_integer('CachedTeacher: top_k', settings['top_k'], 1)
    check_choice('CachedTeacher: make', settings.get('make', 'never'), MAKE)
    checkpoint = settings.get('checkpoint')
    if settings.get('model') and checkpoint in (None, True, ''):
        raise ConfigError(f'CachedTeacher: checkpoint={checkpoint!r}, but model is given: expected the file or URL '
                          'of its weights, False for one that loads its own, or model=None to use the cache alone.')
    if checkpoint and not settings.get('model'):
        raise ConfigError(f'CachedTeacher: checkpoint={checkpoint!r}, but no model is given: write '
                          "model=dict(cfg_path='…'), or remove the checkpoint.")
