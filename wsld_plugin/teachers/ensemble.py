"""The average of several teachers."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from wsld_plugin.errors import ConfigError, check_choice
from wsld_plugin.registry import MODELS

from .network import TeacherNetwork


@MODELS.register_module()
class EnsembleTeacher(BaseModel):
    """The average of several classifiers.

    ::

        logits = log mean_m softmax(t_m)    ('probabilities')
        logits = mean_m t_m                 ('logits')

    The probabilities are averaged at temperature 1; a loss tempers their average. The softmax of averaged logits is
    the renormalised geometric mean of the members' probabilities. Each member sees the batch in its own
    normalisation and channel order. In ``SoftLabelDistill`` set ``teacher_ckpt=False``.

    Args:
        members: dicts of ``model``, a model config, ``dict(cfg_path='mmpretrain::…', **overrides)`` or a built
            model, which sees what the ensemble sees if it has no ``data_preprocessor`` of its own; ``checkpoint``,
            a file or URL of its weights, or ``False`` to use it as it is initialised; and ``class_map``, see
            :class:`LogitConnector`, if its classes differ from the ensemble's.
        average: ``'probabilities'`` or ``'logits'``.
        data_preprocessor: how the images are prepared; default in ``SoftLabelDistill``: the student's.

    Raises:
        ConfigError: settings or members that do not fit; a member is named by its index.
        CheckpointError, FileNotFoundError: the weights of a member cannot be read or do not fit.
    """

    no_checkpoint = 'the members of an EnsembleTeacher each name their own checkpoint'

    def __init__(self, members: Sequence[Mapping[str, Any]], average: str = 'probabilities',
                 data_preprocessor: Mapping[str, Any] | nn.Module | None = None) -> None:
        check_choice('EnsembleTeacher: average', average, ('probabilities', 'logits'))
        _check_members(members)
        if isinstance(data_preprocessor, Mapping):
            data_preprocessor = {'_scope_': 'mmpretrain', 'type': 'ClsDataPreprocessor', **data_preprocessor}
        super().__init__(data_preprocessor)
        self.members = nn.ModuleList()
        for index, cfg in enumerate(members):
            try:
                self.members.append(TeacherNetwork(
                    cfg['model'], cfg['checkpoint'], cfg.get('class_map'), cast(nn.Module, self.data_preprocessor),
                    data_preprocessor, role=f'teacher member {index}', init=False))
            except ConfigError as error:
                raise ConfigError(f'{_where(index)}: {error}') from error
        counts = {index: each.num_classes for index, each in enumerate(self.members) if each.num_classes}
        of, first = next(iter(counts.items()), (0, None))
        for index, count in counts.items():
            if count != first:
                raise ConfigError(f'{_where(index)} has {count} classes and members[{of}] {first}: give the members '
                                  "class_maps to the student's classes.")
        self.head = _Average(cast('int | None', first), average == 'probabilities')

    @property
    def reads_labels(self) -> bool:
        """Whether a member reads the labels, so that the accuracy of the ensemble is meaningless."""
        return any(getattr(member.model, 'reads_labels', False) for member in self.members)

    def init_weights(self) -> None:
        """Initialise the members that have no checkpoint."""
        for member in self.members:
            cast(TeacherNetwork, member).init_weights()

    def forward(self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None,
                mode: str = 'tensor') -> Tensor:
        """The logits (N, C), float32 or float64, of images (N, channels, H, W).

        Raises:
            ValueError, TypeError: a member's output is not (N, C), or C differs from the first member's.
            NotImplementedError: a mode other than ``'tensor'``.
        """
        if mode != 'tensor':
            raise NotImplementedError(f"mode={mode!r}: an EnsembleTeacher supports mode='tensor' only.")
        return self.head([member(inputs, data_samples) for member in self.members])


class _Average(nn.Module):
    """Averages M logits (N, C); a module, so that its output can be recorded."""

    def __init__(self, num_classes: int | None, probabilities: bool) -> None:
        super().__init__()
        self.num_classes, self.probabilities = num_classes, probabilities

    def forward(self, logits: list[Tensor]) -> Tensor:
        for index, each in enumerate(logits):
            if each.shape != logits[0].shape:
                raise ValueError(f'{_where(index)} returns logits {tuple(each.shape)} and members[0] '
                                 f'{tuple(logits[0].shape)}: give the members class_maps to the same classes.')
        if not self.probabilities:
            return torch.stack(logits).mean(0)
        return torch.stack(logits).log_softmax(-1).logsumexp(0) - math.log(len(logits))


def _where(index: int) -> str:
    return f'EnsembleTeacher: members[{index}]'


def _check_members(members: Sequence[Mapping[str, Any]]) -> None:
    """Raise ConfigError for invalid dicts, before the first model is built."""
    wanted = 'dict(model=…, checkpoint=…)'
    if isinstance(members, Mapping) or not isinstance(members, Sequence) or not members:
        raise ConfigError(f'EnsembleTeacher: members={members!r}, expected a list of one or more {wanted}.')
    seen: dict[str, int] = {}
    for index, member in enumerate(members):
        if not isinstance(member, Mapping) or not member.get('model'):
            raise ConfigError(f'{_where(index)} has no model, expected {wanted}.')
        for key in member:
            check_choice(f'{_where(index)}: a key beside model=dict(…)', key, ('model', 'checkpoint', 'class_map'))
        checkpoint = member.get('checkpoint')
        if checkpoint in (None, True, ''):
            raise ConfigError(f'{_where(index)}: checkpoint={checkpoint!r}, expected the file or URL of its trained '
                              'weights, or False to use it as it is initialised.')
        first = seen.setdefault(repr(dict(member)), index)
        if checkpoint and first != index:
            raise ConfigError(f'{_where(index)} is the same as members[{first}] ({checkpoint}), which would count '
                              'twice: remove one of them.')
