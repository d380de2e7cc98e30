"""The algorithm: a student learns from labels and from the soft labels of a teacher."""
from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from mmrazor.models.algorithms import SingleTeacherDistill
from mmrazor.models.utils import add_prefix
from torch import nn

from wsld_plugin.config.models import build_model, resolve_model_cfg, student_model_cfg
from wsld_plugin.connectors import LogitConnector
from wsld_plugin.errors import ConfigError, check_choice, did_you_mean
from wsld_plugin.models.checkpoint import load_classifier
from wsld_plugin.preprocessors import renormalize
from wsld_plugin.registry import MODELS
from wsld_plugin.teachers.frozen import BN_MODES, FrozenTeacher

from .heads import check_sources, head_classes

Losses = dict[str, torch.Tensor]


@MODELS.register_module()
class SoftLabelDistill(SingleTeacherDistill):
    """Distil the soft labels of a frozen teacher into a student.

    .. math:: L = w_{hard} \\cdot L_{student} + \\sum_j L_{distill,j}

    The student's loss is its own head's; the distillation losses are the distiller's. In every step the
    teacher runs once, ``mode='tensor'``, without gradient and without computing a loss, on the batch in
    *its* normalisation and channel order. It appears in no optimizer, ``state_dict``, EMA copy or gradient
    bucket, and building it leaves the random state as it was: with equal seeds a student starts from the
    same weights whoever teaches it.

    Args:
        architecture: the student: a model config, ``dict(cfg_path='mmpretrain::…', **overrides)``, or a
            built model.
        teacher: the teacher, likewise. Without a ``data_preprocessor`` of its own it sees what the student
            sees.
        distiller: MMRazor's distiller: recorders, connectors, losses and mappings.
        teacher_ckpt: file or URL of the teacher's weights (see
            :func:`wsld_plugin.models.checkpoint.load_classifier` for what is recognised), or ``False`` for
            a teacher that is used as it is initialised, has no weights (:class:`VirtualTeacher`) or loads
            its own (:class:`EnsembleTeacher`).
        teacher_bn: ``'eval'`` or ``'train'``, see :class:`wsld_plugin.teachers.FrozenTeacher`.
        hard_weight: weight of the student's own losses, ≥ 0.
        data_preprocessor: for the student; default: its config's own.
        init_cfg: as for any mmengine model.

    Raises:
        ConfigError: an argument, a head, a recorder or the class counts do not fit.
        CheckpointError, FileNotFoundError: the teacher's weights cannot be had.

    Differs from MMRazor's ``SingleTeacherDistill``: overrides beside ``cfg_path`` count; the teacher computes
    no loss and is not trained; ``teacher_bn`` takes the place of ``teacher_norm_eval``; a teacher checkpoint
    is required and must fit wholly; in-place operations stay on where nothing but heads is recorded; once
    distillation is stopped the teacher does not run.
    """

    def __init__(self,
                 architecture: dict | BaseModel,
                 teacher: dict | BaseModel,
                 distiller: dict,
                 teacher_ckpt: str | bool | None = None,
                 teacher_bn: str = 'eval',
                 hard_weight: float = 1.0,
                 data_preprocessor: dict | nn.Module | None = None,
                 init_cfg: dict | None = None) -> None:
        _check_arguments(teacher_ckpt, teacher_bn, hard_weight)
        if isinstance(architecture, Mapping):
            architecture = student_model_cfg(
                architecture, data_preprocessor if isinstance(data_preprocessor, Mapping) else None)
            data_preprocessor = data_preprocessor if isinstance(data_preprocessor, nn.Module) else None
        student = build_model(architecture)
        with torch.random.fork_rng(devices=[]):
            teacher = cast(BaseModel, build_model(_teacher_cfg(teacher, architecture)))
            _check_takes_checkpoint(teacher, teacher_ckpt)
            if teacher_ckpt is False:
                teacher.init_weights()
        _check_mappings(distiller)
        check_sources(student, distiller.get('student_recorders'), 'student')
        check_sources(teacher, distiller.get('teacher_recorders'), 'teacher')
        if teacher_ckpt:
            load_classifier(teacher, str(teacher_ckpt), role='teacher')

        self.teacher_bn = teacher_bn
        super().__init__(
            architecture=student, distiller=distiller, teacher=teacher, teacher_norm_eval=False,
            data_preprocessor=data_preprocessor, init_cfg=init_cfg,
            module_inplace=_only_heads(distiller.get('student_recorders')),
            teacher_module_inplace=_only_heads(distiller.get('teacher_recorders')))
        self.hard_weight = hard_weight
        self.renormalize = (renormalize(self.data_preprocessor, cast(nn.Module, teacher.data_preprocessor))
                            if getattr(teacher, 'sees_images', True) else None)
        self._check_classes()

    @property
    def teacher(self) -> nn.Module:
        """The teacher; see :class:`wsld_plugin.teachers.FrozenTeacher` for why it is no submodule."""
        return self._teacher.module

    def __setattr__(self, name: str, value: Any) -> None:
        if name == 'teacher':
            name, value = '_teacher', FrozenTeacher(value, self.teacher_bn)
        super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> SoftLabelDistill:
        # a copy (an EMA model) learns from the same teacher, and so through the recorders that watch it
        for shared in (self._teacher, self.distiller.teacher_recorders):
            memo[id(shared)] = shared
        twin = memo[id(self)] = type(self).__new__(type(self))
        twin.__setstate__(copy.deepcopy(self.__dict__, memo))
        return twin

    def _apply(self, fn: Callable, recurse: bool = True) -> SoftLabelDistill:
        super()._apply(fn, recurse)
        self.teacher._apply(fn)
        return self

    def train(self, mode: bool = True) -> SoftLabelDistill:
        """Set the student's mode; the teacher follows as ``teacher_bn`` says."""
        super().train(mode)
        self._teacher.set_mode(training=mode)
        return self

    def loss(self, inputs: torch.Tensor, data_samples: list[BaseDataElement] | None = None) -> Losses:
        """All losses of a batch.

        Args:
            inputs: images (N, channels, H, W) in the student's normalisation.
            data_samples: N samples with their targets.

        Returns:
            ``student.*``: the student's own, times ``hard_weight``; ``distill.*``: the distiller's, in nats
            times their weights. What has ``loss`` in its name is summed and minimised.
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
    def teacher_logits(self, inputs: torch.Tensor,
                       data_samples: list[BaseDataElement] | None = None) -> torch.Tensor:
        """The teacher's logits in the student's terms, as the first distillation loss receives them.

        Args:
            inputs: images (N, channels, H, W) in the student's normalisation.
            data_samples: their N samples, for teachers that read more than the images.

        Returns:
            Logits (N, C), float32, C the student's classes.
        """
        record = next(self._teacher_logit_records(), None)
        if record is None:
            raise ConfigError('no distillation loss receives the output of a teacher recorder with '
                              "source='head'; add one to loss_forward_mappings to use the teacher's logits.")
        self._run_teacher(inputs, data_samples)
        return self.distiller.get_record(**record)

    @torch.no_grad()
    def _run_teacher(self, inputs: torch.Tensor, data_samples: list[BaseDataElement] | None) -> None:
        if self.renormalize is not None:
            inputs = self.renormalize(inputs)
        with self.distiller.teacher_recorders:
            self.teacher(inputs, data_samples, mode='tensor')

    def _student_losses(self, inputs: torch.Tensor, data_samples: list[BaseDataElement] | None) -> Losses:
        losses = self.student(inputs, data_samples, mode='loss')
        if self.hard_weight != 1:
            losses = {name: value * self.hard_weight if 'loss' in name else value
                      for name, value in losses.items()}
        return add_prefix(losses, 'student')

    def _teacher_logit_records(self):
        """Which arguments of the losses are the output of the teacher's head."""
        recorders = self.distiller.teacher_recorders.recorders
        for mapping in self.distiller.loss_forward_mappings.values():
            for record in mapping.values():
                if not record['from_student'] and recorders[record['recorder']].source == 'head':
                    yield record

    def _check_classes(self) -> None:
        """Compare class counts as far as the heads declare them; the losses compare the rest."""
        teacher, student = head_classes(self.teacher), head_classes(self.student)
        if teacher is None or student is None:
            return
        for record in self._teacher_logit_records():
            name = record.get('connector')
            connector = self.distiller.connectors[name] if name else LogitConnector()
            if isinstance(connector, LogitConnector):
                connector.check(teacher, student)


def _check_arguments(teacher_ckpt: str | bool | None, teacher_bn: str, hard_weight: float) -> None:
    if teacher_ckpt is None or teacher_ckpt is True or teacher_ckpt == '':
        raise ConfigError(f'teacher_ckpt={teacher_ckpt!r}: a teacher needs its trained weights. Give a file or '
                          'URL, or teacher_ckpt=False to learn from the teacher as it is initialised. An '
                          'EnsembleTeacher, whose members each name their checkpoint, and a VirtualTeacher, which '
                          'has no weights, need teacher_ckpt=False.')
    check_choice('teacher_bn', teacher_bn, BN_MODES)
    if not hard_weight >= 0:
        raise ConfigError(f'hard_weight={hard_weight!r}, expected a number ≥ 0.')


def _check_takes_checkpoint(teacher: BaseModel, teacher_ckpt: str | bool | None) -> None:
    reason = getattr(teacher, 'no_checkpoint', None)
    if teacher_ckpt and reason:
        raise ConfigError(f'teacher_ckpt={teacher_ckpt!r}: {reason}. Write teacher_ckpt=False.')


def _check_mappings(distiller: Mapping[str, Any]) -> None:
    """MMRazor silently leaves out a loss that is given nothing."""
    mapped = distiller.get('loss_forward_mappings') or {}
    for name in distiller.get('distill_losses') or {}:
        if name not in mapped:
            raise ConfigError(f'distill_losses.{name} would never be computed: loss_forward_mappings has no {name!r}.'
                              + did_you_mean(name, mapped))


def _teacher_cfg(teacher: dict | BaseModel, student: dict | BaseModel) -> dict | BaseModel:
    if not isinstance(teacher, Mapping):
        return teacher
    cfg = resolve_model_cfg(dict(teacher))
    if not cfg.get('data_preprocessor') and isinstance(student, Mapping):
        cfg['data_preprocessor'] = {key: value for key, value in student['data_preprocessor'].items()
                                    if key != 'batch_augments'}
    return cfg


def _only_heads(recorders: Mapping[str, Mapping[str, Any]] | None) -> bool:
    """Whether nothing but heads is recorded, so that in-place operations change no record."""
    return all(str(recorder.get('source', '')).split('.')[0] == 'head'
               for recorder in (recorders or {}).values())
