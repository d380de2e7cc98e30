"""Several teachers as one."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from wsld_plugin.errors import check_choice
from wsld_plugin.registry import MODELS

from .member import Member, check_members, shared_classes, where

AVERAGES = ('probabilities', 'logits')


@MODELS.register_module()
class EnsembleTeacher(BaseModel):
    """The average of several classifiers.

    ::

        logits = log mean_m softmax(t_m)    ('probabilities')
        logits = mean_m t_m                 ('logits')

    The probabilities are averaged at temperature 1; a loss tempers their average. The logits' average is, after
    the softmax, the renormalised geometric mean of the members' probabilities. Each member sees the batch in its
    own normalisation and channel order. In ``SoftLabelDistill`` write ``teacher_ckpt=False`` beside it.

    Args:
        members: dicts of ``model``, a model config, ``dict(cfg_path='mmpretrain::…', **overrides)`` or a built
            model, that sees what the ensemble sees where it has no ``data_preprocessor`` of its own;
            ``checkpoint``, a file or URL of its weights, or ``False`` to use it as it is initialised; and
            ``class_map``, as :class:`LogitConnector` takes it, where its classes differ from the ensemble's.
        average: ``'probabilities'`` or ``'logits'``.
        data_preprocessor: how the images come; in ``SoftLabelDistill`` as the student sees them, by default.

    Raises:
        ConfigError: settings or members that do not fit; a member is named by its index.
        CheckpointError, FileNotFoundError: the weights of a member cannot be had.
    """

    no_checkpoint = 'the members of an EnsembleTeacher each name their own checkpoint'

    def __init__(self, members: Sequence[Mapping[str, Any]], average: str = 'probabilities',
                 data_preprocessor: Mapping[str, Any] | nn.Module | None = None) -> None:
        check_choice('EnsembleTeacher: average', average, AVERAGES)
        check_members(members)
        if isinstance(data_preprocessor, Mapping):
            data_preprocessor = {'_scope_': 'mmpretrain', 'type': 'ClsDataPreprocessor', **data_preprocessor}
        super().__init__(data_preprocessor)
        sees = cast(nn.Module, self.data_preprocessor)
        built = [Member(index, cfg, sees, default=data_preprocessor) for index, cfg in enumerate(members)]
        self.members = nn.ModuleList(built)
        self.head = _Average(shared_classes(built), average == 'probabilities')

    @property
    def reads_labels(self) -> bool:
        """Whether a member does, so that the accuracy of the ensemble says nothing."""
        return any(cast(Member, member).reads_labels for member in self.members)

    def init_weights(self) -> None:
        """Initialise the members that have no checkpoint; the others keep theirs."""
        for member in self.members:
            cast(Member, member).init_weights()

    def forward(self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None,
                mode: str = 'tensor') -> Tensor:
        """The logits (N, C), float32.

        Args:
            inputs: images (N, channels, H, W) as ``data_preprocessor`` prepares them.
            data_samples: their N samples, for members that read more than the images.
            mode: ``'tensor'``.

        Raises:
            ValueError, TypeError: a member's output is not (N, C), or of another C than the first's.
            NotImplementedError: another mode.
        """
        if mode != 'tensor':
            raise NotImplementedError(f"mode={mode!r}: an EnsembleTeacher gives its logits with mode='tensor' and "
                                      'nothing else.')
        return self.head([member(inputs, data_samples) for member in self.members])


class _Average(nn.Module):
    """M logits (N, C) to one: a module of its own, so that it can be recorded."""

    def __init__(self, num_classes: int | None, probabilities: bool) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.probabilities = probabilities

    def forward(self, logits: list[Tensor]) -> Tensor:
        for index, each in enumerate(logits):
            if each.shape != logits[0].shape:
                raise ValueError(f'{where(index)} gives logits {tuple(each.shape)} and members[0] '
                                 f'{tuple(logits[0].shape)}: give the members class_maps to the same classes.')
        stacked = torch.stack(logits)
        if not self.probabilities:
            return stacked.mean(0)
        return stacked.log_softmax(-1).logsumexp(0) - math.log(len(logits))
