"""What of ``accelerate`` needs the built model and a real batch."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from wsld_plugin.engine.compiling import check_compiler, hooked_inside
from wsld_plugin.engine.fold_batchnorm import Fold
from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import HOOKS
from wsld_plugin.teachers.network import head_classes

# Classes from which on a loss is no small part of a step: compiled, KD takes half the time (docs/benchmarks.md).
MANY_CLASSES = 10_000
# Of the largest logit, or of 1 where that is smaller; folding differs from it by rounding, about 1e-6.
_TOLERANCE = 1e-4


@HOOKS.register_module()
class AccelerateHook(Hook):
    """Before the first step: fold the teacher's BatchNorms, compile the backbones and the losses of many classes.

    The teacher's logits of the first batch, in float32, must be the same to 1e-4 of the largest before and after
    folding. Every part that is done or left out is told in one line of the log.

    Args:
        fold_teacher_bn: fold; left out for ``teacher_bn='train'``, for a teacher whose data flow cannot be traced,
            and for single BatchNorms where the result would not be the same or a recorder looks on.
        compile: True, or a dict of arguments of `torch.compile`: compile the backbones of student and teacher, which
            lie between the recorders' hooks, left out for one with a hook inside; and the distillation's losses,
            from 10,000 classes on.

    Raises:
        ConfigError: folded logits differ, or are not finite before folding; there is nothing on this machine to
            compile with.
    """

    priority = 'LOWEST'

    def __init__(self, fold_teacher_bn: bool = True, compile: bool | Mapping[str, Any] = False) -> None:
        self.fold_teacher_bn = fold_teacher_bn
        self.compile = compile
        self._ready = False

    def before_train(self, runner: Runner) -> None:
        """Refuse what this machine cannot do before the first batch is loaded."""
        if self.compile:
            check_compiler(next(runner.model.parameters()).device)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Once."""
        if self._ready:
            return
        self._ready = True
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        lines = []
        if self.fold_teacher_bn and isinstance(getattr(model, 'teacher', None), nn.Module):
            lines += fold_teacher(model, data_batch)
        if self.compile:
            options = {} if self.compile is True else self.compile
            lines += compile_backbones(model, options) + compile_losses(model, options)
        for line in lines:
            runner.logger.info(f'accelerate.{line}')


def fold_teacher(model: Any, data_batch: Any) -> list[str]:
    """Fold the BatchNorms of a distillation's teacher, checked on a batch of its data loader; what was done."""
    if model.teacher_bn == 'train':
        return ["fold_teacher_bn: left out, teacher_bn='train' normalises with each batch's own statistics."]
    folds, lines = [], []
    for name, backbone in backbones(model.teacher):
        try:
            folds.append(Fold(backbone))
        except ValueError as error:
            lines.append(f"fold_teacher_bn: left out for the teacher's {name}, {error}.")
    count = sum(len(fold.pairs) for fold in folds)
    if not count:
        return lines
    before = _logits(model, data_batch)
    if not all(logits.isfinite().all() for logits in before):
        raise ConfigError("The teacher's logits of the first batch are not finite: it can teach nothing. Its "
                          'weights, or the images as it sees them, hold NaN or infinity: compare its accuracy with '
                          "what it should be, and its data_preprocessor's mean and std with those of its training.")
    for fold in folds:
        fold.apply()
    after = _logits(model, data_batch)
    difference = max(float((a - b).abs().max()) for a, b in zip(before, after, strict=True))
    largest = max(1.0, *(float(logits.abs().max()) for logits in before))
    if not difference <= _TOLERANCE * largest:
        for fold in folds:
            fold.undo()
        raise ConfigError(f"accelerate.fold_teacher_bn: the teacher's logits change by {difference:.2g} of "
                          f'{largest:.3g} when its BatchNorms are folded, expected at most {_TOLERANCE:g} of it. Set '
                          'accelerate=dict(fold_teacher_bn=False).')
    return [*lines, f'fold_teacher_bn: {count} folded; logits of the first batch differ by at most {difference:.1g}.']


def compile_backbones(model: nn.Module, options: Mapping[str, Any]) -> list[str]:
    """Compile the backbones of a classifier, or of a distillation's student and teacher; what was done."""
    lines = []
    parts = [('teacher', getattr(model, 'teacher', None)), ('student', getattr(model, 'student', model))]
    for role, part in parts:
        for name, backbone in backbones(part):
            hooked = hooked_inside(backbone)
            if hooked:
                lines.append(f"compile: left out for the {role}'s {name}, {hooked!r} in it has a hook.")
            else:
                backbone.compile(**options)
                lines.append(f"compile: the {role}'s {name}.")
    return lines


def compile_losses(model: Any, options: Mapping[str, Any]) -> list[str]:
    """Compile the losses of a distillation of `MANY_CLASSES` or more; what was done."""
    if not hasattr(model, 'distiller') or (head_classes(model.student) or 0) < MANY_CLASSES:
        return []
    losses = model.distiller.distill_losses
    for loss in losses.values():
        loss.compile(**options)
    return [f'compile: the loss {name}.' for name in losses]


def backbones(model: nn.Module | None) -> Iterator[tuple[str, nn.Module]]:
    """The backbones of a classifier or of an ensemble's members, by their names in it."""
    for name, module in (model.named_modules() if isinstance(model, nn.Module) else ()):
        if name.split('.')[-1] == 'backbone':
            yield name, module


@torch.no_grad()
def _logits(model: Any, data_batch: Any) -> list[torch.Tensor]:
    """What the teacher returns for a batch, in float32; nothing is drawn or recorded."""
    data = model.data_preprocessor(data_batch, training=False)
    inputs, data_samples = data['inputs'], data.get('data_samples')
    if model.renormalize is not None:
        inputs = model.renormalize(inputs)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = model.teacher(inputs, data_samples, mode='tensor')
    return list(found) if isinstance(found, (list, tuple)) else [found]
