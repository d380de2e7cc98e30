"""Looking at what a distillation loss is given, without changing it."""
from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from wsld_plugin.errors import ConfigError, check_choice

from .given_batches import GivenBatch

# The arguments of a loss on logits: this project's name and MMRazor's.
_LOGITS = (('student', 'preds_S'), ('teacher', 'preds_T'))


class LossProbe:
    """Copies what a distillation loss is given, while ``on``.

    Args:
        model: a ``SoftLabelDistill``, or MMRazor's ``SingleTeacherDistill``.
        loss: which of its ``distill_losses``; None: the first on logits.

    Raises:
        ConfigError: there is no such loss, or no target: neither the loss nor the student's head has one.
    """

    def __init__(self, model: Any, loss: str | None = None) -> None:
        losses = model.distiller.distill_losses if hasattr(model, 'distiller') else {}
        self.name = _choose(losses, loss)
        self.loss = losses[self.name]
        self.on = True
        self._model = model
        self._names = list(inspect.signature(self.loss.forward).parameters)
        self._given_target = 'gt_labels' in model.distiller.loss_forward_mappings[self.name]
        self._target: Any = None
        self._head_loss: nn.Module | None = None
        self._given: dict[int, GivenBatch] = {}  # by the number of samples
        # torch.compile may not trace what keeps its tensors
        look = torch.compiler.disable(self._look)
        self._handles = [self.loss.register_forward_hook(look, with_kwargs=True)]
        self.follow()

    def follow(self) -> None:
        """Find the target again where the loss gets none: the loss of the student's head may be replaced in a run."""
        if self._given_target:
            return
        found = getattr(getattr(self._model.student, 'head', None), 'loss_module', None)
        if not isinstance(found, nn.Module):
            raise ConfigError(f'SoftLabelMonitorHook: distill_losses.{self.name} is given no gt_labels and the '
                              "student's head has no loss_module to find the target at: add gt_labels to the "
                              'loss_forward_mappings of a loss that takes it.')
        if found is not self._head_loss:
            self._head_loss = found
            self._handles.append(found.register_forward_pre_hook(self._look_at_target, with_kwargs=True))

    def take(self) -> GivenBatch | None:
        """The last batch; None where the loss was not called since the last ``take``."""
        return self._given.popitem()[1] if self._given else None

    def taken_by_replay(self, n: int) -> GivenBatch | None:
        """A batch of n samples of a step that is replayed: no hook is called, but the same place is written."""
        stopped = getattr(self._model, 'distillation_stopped', False)
        return self._given[n].clone() if n in self._given and not stopped else None

    def close(self) -> None:
        """Look away."""
        for handle in self._handles:
            handle.remove()

    def _look(self, module: Any, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if self.on:
            given = {**dict(zip(self._names, args, strict=False)), **kwargs}
            student, teacher = (given[ours if ours in given else theirs] for ours, theirs in _LOGITS)
            target = given['gt_labels'] if self._given_target else self._target
            self._given[len(student)] = GivenBatch.of(student, teacher, target, given.get('teacher_ce'),
                                                      self.loss.tau)

    def _look_at_target(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self._target = args[1] if len(args) > 1 else kwargs.get('target', kwargs.get('label'))


def _choose(losses: Mapping[str, nn.Module], name: str | None) -> str:
    """The name of a distillation loss that is given the logits of both."""
    fit = [key for key, module in losses.items() if hasattr(module, 'tau')
           and all(set(names) & set(inspect.signature(module.forward).parameters) for names in _LOGITS)]
    if not fit:
        raise ConfigError('SoftLabelMonitorHook: the model has no distillation loss on logits with a tau, such as '
                          f'wsld_plugin.KD or wsld_plugin.WSLD (it has {", ".join(losses) or "none"}). Add one, or '
                          'take the hook out of custom_hooks.')
    if name is not None:
        check_choice('SoftLabelMonitorHook: loss', name, fit)
    return fit[0] if name is None else name
