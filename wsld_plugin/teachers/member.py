"""One teacher of an ensemble: a classifier, the way in (normalisation) and the way out (class map)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from wsld_plugin.algorithms.heads import check_sources, head_classes
from wsld_plugin.config.models import build_model, resolve_model_cfg
from wsld_plugin.connectors import LogitConnector
from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.models.checkpoint import load_classifier
from wsld_plugin.preprocessors import renormalize

_KEYS = ('model', 'checkpoint', 'class_map')


class Member(nn.Module):
    """Images as the ensemble sees them to logits (N, C) in the ensemble's classes.

    Args:
        index: its place among the members, for messages.
        cfg: ``model``, ``checkpoint`` and ``class_map``, see :class:`wsld_plugin.teachers.EnsembleTeacher`.
        data_preprocessor: the ensemble's.
        default: what it was built from, given to a model that has none of its own: it sees the same.

    Raises:
        ConfigError: the model, its head, its normalisation or its class map does not fit.
        CheckpointError, FileNotFoundError: its weights cannot be had.
    """

    def __init__(self, index: int, cfg: Mapping[str, Any], data_preprocessor: nn.Module,
                 default: Mapping[str, Any] | nn.Module | None = None) -> None:
        super().__init__()
        self.checkpoint = cfg['checkpoint']
        try:
            self._build(cfg['model'], cfg.get('class_map'), data_preprocessor, default)
        except ConfigError as error:
            raise ConfigError(f'{where(index)}: {error}') from error
        if self.checkpoint:
            load_classifier(self.model, str(self.checkpoint), role=f'teacher member {index}')

    def _build(self, model: Any, class_map: Any, data_preprocessor: nn.Module, default: Any) -> None:
        own = True
        if isinstance(model, Mapping):
            model = resolve_model_cfg(model, where='model')
            own = bool(model.get('data_preprocessor'))
            if not own and default is not None:
                model['data_preprocessor'] = default
        self.model = cast(BaseModel, build_model(model))
        self.reads_labels = bool(getattr(self.model, 'reads_labels', False))
        reason = getattr(self.model, 'no_checkpoint', None)
        if self.checkpoint and reason:
            raise ConfigError(f'checkpoint={self.checkpoint!r}: {reason}. Write checkpoint=False.')
        _check_head(self.model)
        self.connector = LogitConnector(class_map)
        given = head_classes(self.model)
        self.num_classes = self.connector.num_classes or given
        if given and self.num_classes:
            self.connector.check(given, self.num_classes)
        sees_images = getattr(self.model, 'sees_images', True)
        self.renormalize = (renormalize(data_preprocessor, cast(nn.Module, self.model.data_preprocessor))
                            if own and sees_images else None)

    def init_weights(self) -> None:
        """Initialise a model without a checkpoint; leave a loaded one as it is."""
        if not self.checkpoint:
            self.model.init_weights()

    def forward(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> Tensor:
        """The logits (N, C), float32."""
        if self.renormalize is not None:
            inputs = self.renormalize(inputs)
        return self.connector(self.model(inputs, data_samples, mode='tensor'))


def where(index: int) -> str:
    """What a message calls a member."""
    return f'EnsembleTeacher: members[{index}]'


def check_members(members: Sequence[Mapping[str, Any]]) -> None:
    """Refuse what is wrong with the dicts themselves, before the first model is built."""
    wanted = 'dict(model=…, checkpoint=…)'
    if isinstance(members, Mapping) or not isinstance(members, Sequence) or not members:
        raise ConfigError(f'EnsembleTeacher: members is {members!r}, but a list of one or more {wanted} is expected.')
    seen: dict[str, int] = {}
    for index, member in enumerate(members):
        here = where(index)
        if not isinstance(member, Mapping) or not member.get('model'):
            raise ConfigError(f'{here} has no model: {wanted} is expected.')
        for key in member:
            if key not in _KEYS:
                raise ConfigError(f'{here} takes no {key!r}, but {", ".join(_KEYS)}; how the model is built '
                                  f'goes into model=dict(…).{did_you_mean(str(key), _KEYS)}')
        checkpoint = member.get('checkpoint')
        if checkpoint is None or checkpoint is True or checkpoint == '':
            raise ConfigError(f'{here} has checkpoint={checkpoint!r}: a teacher needs its trained weights. Give a '
                              'file or URL, or checkpoint=False for a member that is used as it is initialised.')
        first = seen.setdefault(repr(dict(member)), index)
        if checkpoint and first != index:
            raise ConfigError(f'{here} is members[{first}] again ({checkpoint}), which would count twice: take '
                              'one of them away.')


def shared_classes(members: Sequence[Member]) -> int | None:
    """The class count of all members that declare one, None where none does; ConfigError where they differ."""
    known = [(index, member.num_classes) for index, member in enumerate(members) if member.num_classes]
    for index, count in known:
        if count != known[0][1]:
            raise ConfigError(f'{where(index)} gives {count} classes and members[{known[0][0]}] {known[0][1]}: give '
                              "the members class_maps to the student's classes.")
    return known[0][1] if known else None


def _check_head(model: nn.Module) -> None:
    if getattr(model, 'head', None) is None:
        return  # what it returns instead is looked at in the first step
    try:
        check_sources(model, dict(logits=dict(type='mmrazor.ModuleOutputs', source='head')), 'teacher')
    except ConfigError as error:
        raise ConfigError(f'{error} A member cannot be recorded elsewhere: choose a model whose head returns one '
                          '(N, C) tensor of logits.') from error
