"""The algorithm: a student learns from labels and from the soft labels of a teacher."""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.structures import BaseDataElement
from mmrazor.models.algorithms import SingleTeacherDistill
from mmrazor.models.utils import add_prefix
from torch import nn

from wsld_plugin.config.models import build_model, student_model_cfg
from wsld_plugin.connectors import LogitConnector
from wsld_plugin.errors import ConfigError, check_choice, check_number, did_you_mean
from wsld_plugin.registry import MODELS
from wsld_plugin.teachers.network import BN_MODES, TeacherNetwork, check_sources, head_classes

Losses = dict[str, torch.Tensor]


@MODELS.register_module()
class SoftLabelDistill(SingleTeacherDistill):
    """Distil the soft labels of a frozen teacher into a student.

    .. math:: L = w_{hard} \\cdot L_{student} + \\sum_j L_{distill,j}

    The student's loss is computed by its own head, the distillation losses by the distiller. In every step the
    teacher runs once, ``mode='tensor'``, without gradient or loss, on the batch in *its* normalisation and channel
    order. It is in no optimizer, ``state_dict``, EMA copy or gradient bucket. With equal seeds a student starts from
    the same weights for any teacher.

    Args:
        architecture: the student: a model config, ``dict(cfg_path='mmpretrain::…', **overrides)``, or a built model.
        teacher: the teacher, likewise. Without a ``data_preprocessor`` of its own it sees what the student sees.
        distiller: MMRazor's distiller: recorders, connectors, losses and mappings.
        teacher_ckpt: file or URL of the teacher's weights, in any format of
            :func:`wsld_plugin.models.checkpoint.load_classifier`, or ``False`` for a teacher that is used as it is
            initialised, has no weights (:class:`VirtualTeacher`) or loads its own (:class:`EnsembleTeacher`).
        teacher_bn: ``'eval'`` or ``'train'``, see :class:`wsld_plugin.teachers.TeacherNetwork`.
        hard_weight: weight of the student's own losses, ≥ 0.
        data_preprocessor: for the student; default: its config's own.
        init_cfg: as for any mmengine model.

    Raises:
        ConfigError: an argument, a head, a recorder or the numbers of classes do not fit.
        CheckpointError, FileNotFoundError: the teacher's weights cannot be read or do not fit.

    Differs from MMRazor's ``SingleTeacherDistill``: overrides beside ``cfg_path`` are merged; the teacher computes
    no loss and is not trained; ``teacher_bn`` replaces ``teacher_norm_eval``; a teacher checkpoint is required and
    must match every tensor; in-place operations stay enabled if only heads are recorded; once distillation is
    stopped the teacher does not run.
    """

    network: TeacherNetwork  # the teacher with its normalisation

    def __init__(self, architecture: dict | BaseModel, teacher: dict | BaseModel, distiller: dict,
                 teacher_ckpt: str | bool | None = None, teacher_bn: str = 'eval', hard_weight: float = 1.0,
                 data_preprocessor: dict | nn.Module | None = None, init_cfg: dict | None = None) -> None:
        if teacher_ckpt in (None, True, ''):
            raise ConfigError(f'teacher_ckpt={teacher_ckpt!r}, expected the file or URL of the trained weights, or '
                              'teacher_ckpt=False for a teacher that is used as it is initialised, for an '
                              'EnsembleTeacher, whose members each name their checkpoint, and for a VirtualTeacher, '
                              'which has none.')
        check_choice('teacher_bn', teacher_bn, BN_MODES)
        check_number('hard_weight', hard_weight, 0)
        mapped = distiller.get('loss_forward_mappings') or {}
        for name in distiller.get('distill_losses') or {}:
            if name not in mapped:  # MMRazor skips it silently
                raise ConfigError(f'distill_losses.{name} would never be computed: loss_forward_mappings has no '
                                  f'{name!r}.{did_you_mean(name, mapped)}')
        seen = None
        if isinstance(architecture, Mapping):
            given = data_preprocessor if isinstance(data_preprocessor, Mapping) else None
            architecture = student_model_cfg(architecture, given)
            data_preprocessor = data_preprocessor if given is None else None
            seen = {key: value for key, value in architecture['data_preprocessor'].items() if key != 'batch_augments'}
        student = cast(BaseModel, build_model(architecture))
        check_sources(student, distiller.get('student_recorders'), 'student')
        if isinstance(data_preprocessor, Mapping):
            data_preprocessor = ROOT_MODELS.build(data_preprocessor)
        sees = cast(nn.Module, data_preprocessor or student.data_preprocessor)
        network = TeacherNetwork(teacher, teacher_ckpt or False, None, sees, seen, key='teacher_ckpt', bn=teacher_bn,
                                 recorders=distiller.get('teacher_recorders') or {})
        # not as a submodule, so that it is not saved, optimised or synchronised
        object.__setattr__(self, 'network', network)
        super().__init__(
            architecture=student, distiller=distiller, teacher=network.model, teacher_norm_eval=False,
            data_preprocessor=sees, init_cfg=init_cfg,
            module_inplace=_only_heads(distiller.get('student_recorders')),
            teacher_module_inplace=_only_heads(distiller.get('teacher_recorders')))
        self.hard_weight = hard_weight
        self._check_classes()

    @property
    def teacher(self) -> nn.Module:
        """The teacher's model."""
        return self.network.model

    def __setattr__(self, name: str, value: Any) -> None:
        if name != 'teacher':  # MMRazor would register it as a submodule
            super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> SoftLabelDistill:
        # a copy (an EMA model) has the same teacher, and so the recorders of that teacher
        for shared in (self.network, self.distiller.teacher_recorders):
            memo[id(shared)] = shared
        twin = memo[id(self)] = type(self).__new__(type(self))
        twin.__setstate__(copy.deepcopy(self.__dict__, memo))
        return twin

    def _apply(self, fn: Callable, recurse: bool = True) -> SoftLabelDistill:
        super()._apply(fn, recurse)
        self.network._apply(fn)
        return self

    def train(self, mode: bool = True) -> SoftLabelDistill:
        """Set the student's mode; the teacher stays in eval mode, but for BatchNorm with ``teacher_bn='train'``."""
        super().train(mode)
        self.network.train(mode)
        return self

    def loss(self, inputs: torch.Tensor, data_samples: list[BaseDataElement] | None = None) -> Losses:
        """All losses of N images (N, channels, H, W), in the student's normalisation, and their samples.

        Returns:
            ``student.*``: the student's own, times ``hard_weight``; ``distill.*``: the distiller's, in nats times
            their weights. Values whose name contains ``loss`` are summed and minimised.
        """
        if self.distillation_stopped:
            return self._student_losses(inputs, data_samples)
        self.distiller.set_deliveries_override(False)
        with self.distiller.deliveries:
            self._run_teacher(inputs, data_samples)
        self.distiller.set_deliveries_override(True)
        with self.distiller.student_recorders, self.distiller.deliveries:
            losses = self._student_losses(inputs, data_samples)
        losses.update(add_prefix(self.distiller.compute_distill_losses(), 'distill'))
        return losses

    @torch.no_grad()
    def teacher_logits(self, inputs: torch.Tensor, data_samples: list[BaseDataElement] | None = None) -> torch.Tensor:
        """The teacher's logits (N, C), as the first distillation loss receives them; see :meth:`loss`."""
        record = next(self._teacher_logit_records(), None)
        if record is None:
            raise ConfigError('no distillation loss receives the output of a teacher recorder with '
                              "source='head'; add one to loss_forward_mappings to use the teacher's logits.")
        self._run_teacher(inputs, data_samples)
        return self.distiller.get_record(**record)

    @torch.no_grad()
    def _run_teacher(self, inputs: torch.Tensor, data_samples: list[BaseDataElement] | None) -> None:
        with self.distiller.teacher_recorders:
            self.network.run(inputs, cast(Any, data_samples))

    def _student_losses(self, inputs: torch.Tensor, data_samples: list[BaseDataElement] | None) -> Losses:
        losses = self.student(inputs, data_samples, mode='loss')
        if self.hard_weight != 1:
            losses = {name: value * self.hard_weight if 'loss' in name else value for name, value in losses.items()}
        return add_prefix(losses, 'student')

    def _teacher_logit_records(self) -> Iterator[Mapping[str, Any]]:
        """The arguments of the losses that are the output of the teacher's head."""
        recorders = self.distiller.teacher_recorders.recorders
        for mapping in self.distiller.loss_forward_mappings.values():
            for record in mapping.values():
                if not record['from_student'] and recorders[record['recorder']].source == 'head':
                    yield record

    def _check_classes(self) -> None:
        """Compare the numbers of classes that the heads declare; the losses compare the logits."""
        teacher, student = head_classes(self.teacher), head_classes(self.student)
        if teacher is None or student is None:
            return
        for record in self._teacher_logit_records():
            name = record.get('connector')
            connector = self.distiller.connectors[name] if name else LogitConnector()
            if isinstance(connector, LogitConnector):
                connector.check(teacher, student)


def _only_heads(recorders: Mapping[str, Mapping[str, Any]] | None) -> bool:
    """Whether only heads are recorded, so that in-place operations change no record."""
    return all(str(recorder.get('source', '')).split('.')[0] == 'head' for recorder in (recorders or {}).values())
