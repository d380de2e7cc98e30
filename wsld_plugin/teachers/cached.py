"""A teacher that gave its soft labels before."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from wsld_plugin.errors import ConfigError, check_choice
from wsld_plugin.registry import MODELS
from wsld_plugin.soft_labels.reader import SoftLabels
from wsld_plugin.soft_labels.records import decode, to_tensors

MAKE = ('never', 'missing')


@MODELS.register_module()
class CachedTeacher(BaseModel):
    """Soft labels from disk, where ``tools/cache_soft_labels.py`` has put them: docs/caching.md.

    A teacher sees a sample in ``views`` augmentations and no more: in epoch e the sampler of the run repeats the
    augmentation of view e mod V. Its submodule ``head`` gives the logits, ``teacher_ce`` the exact cross entropy of
    the label, (N,) in nats, for :class:`WSLD`, also where the logits are truncated. The network is not built, but
    once before training, if the config names it: its weights and a few of its soft labels are compared with the
    cache. In ``SoftLabelDistill`` write ``teacher_ckpt=False`` beside it.

    Args:
        views: V, number of augmentations of each sample; 1 where there is none.
        top_k: how many logits are kept of each sample; None: all.
        cache: the folder; None: ``soft_labels`` in the run's folder.
        model: the teacher, a model config or ``dict(cfg_path='mmpretrain::…', **overrides)``; None where only the
            cache is at hand.
        checkpoint: file or URL of its weights, or ``False`` for one that loads its own (:class:`EnsembleTeacher`).
        class_map: the teacher's index of each student class, as :class:`LogitConnector` takes it. The cache holds
            the student's classes, so the connector has no map.
        make: what to do where there is no cache: ``'never'``: refuse the run; ``'missing'``: make it before training,
            in one process.
        data_preprocessor: given to a ``model`` that has none of its own.
        init_cfg: as for any mmengine model.

    Raises:
        ConfigError: a setting that makes no sense.
    """

    reads_labels = True  # those of the training set: there is nothing to validate
    sees_images = False
    no_checkpoint = 'a CachedTeacher has no weights; those of the network go to teacher.checkpoint'

    def __init__(self, views: int = 1, top_k: int | None = None, cache: str | None = None,
                 model: Mapping[str, Any] | None = None, checkpoint: str | bool | None = None, class_map: Any = None,
                 make: str = 'never', data_preprocessor: Any = None, init_cfg: dict | None = None) -> None:
        check_settings(dict(views=views, top_k=top_k, model=model, checkpoint=checkpoint, make=make))
        super().__init__(init_cfg=init_cfg)
        self.labels: SoftLabels | None = None
        self.head = _Logits()
        self.teacher_ce = nn.Identity()

    def open(self, labels: SoftLabels) -> None:
        """Serve these from now on."""
        self.labels = labels
        self.head.num_classes, self.head.tau = labels.header.num_classes, labels.header.tau

    def forward(self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None,
                mode: str = 'tensor') -> Tensor:
        """The logits (N, C), float32, in the student's classes.

        Args:
            inputs: N images; only their device is looked at.
            data_samples: N samples with ``sample_key``, as `KeyedDataset` gives them.
            mode: ``'tensor'``.

        Raises:
            ValueError: a sample without a key, or one that the cache does not have; no cache was opened.
            NotImplementedError: another mode.
        """
        if mode != 'tensor':
            raise NotImplementedError(f"mode={mode!r}: a CachedTeacher gives its soft labels with mode='tensor' and "
                                      'nothing else; it predicts nothing and learns nothing.')
        if self.labels is None:
            raise ValueError('the CachedTeacher has no soft labels yet: train with tools/train.py, or add '
                             "default_hooks=dict(soft_labels=dict(type='wsld_plugin.SoftLabelsHook')).")
        if not data_samples or not all('sample_key' in sample for sample in data_samples):
            raise ValueError('a CachedTeacher knows samples of the training set by their sample_key, which these do '
                             'not have: it can teach only on a wsld_plugin.KeyedDataset.')
        fields = to_tensors(self.labels.rows([sample.sample_key for sample in data_samples]), inputs.device)
        self.teacher_ce(fields['teacher_ce'])
        return self.head(fields)


class _Logits(nn.Module):
    """The fields of N records to logits (N, C): a module of its own, so that it can be recorded."""

    num_classes: int | None = None
    tau: float | None = None

    def forward(self, fields: Mapping[str, Tensor]) -> Tensor:
        assert self.num_classes is not None
        return decode(fields, self.num_classes, self.tau)


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse arguments of a `CachedTeacher` that make no sense.

    Raises:
        ConfigError: naming the argument.
    """
    for name, none in (('views', False), ('top_k', True)):
        value = settings.get(name, None if none else 1)
        if (value is not None or not none) and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigError(f'CachedTeacher: {name} is {value!r}, but a number from 1 up is expected'
                              + (', or None for all classes.' if none else '.'))
    check_choice('CachedTeacher: make', settings.get('make', 'never'), MAKE)
    checkpoint = settings.get('checkpoint')
    if settings.get('model') and (checkpoint is None or checkpoint is True or checkpoint == ''):
        raise ConfigError(f'CachedTeacher: checkpoint is {checkpoint!r}, but model is named: give the file or URL of '
                          'its weights, checkpoint=False for one that loads its own, or model=None where only the '
                          'cache is at hand.')
    if checkpoint and not settings.get('model'):
        raise ConfigError(f'CachedTeacher: checkpoint={checkpoint!r}, but no model is named: write '
                          "model=dict(cfg_path='…'), or leave the checkpoint out.")
