"""The losses on soft labels as modules for configs: a function of ``functional``, its settings and its weight."""
from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wsld_plugin.errors import ConfigError, check_choice, check_number
from wsld_plugin.registry import MODELS

from . import functional
from .checks import check_tau

_SAMPLES = dict(reading='label', regularization=1.0, others=1.0)


class SoftLabelLoss(nn.Module):
    """Base class: temperature, weight, and factors of the samples.

    ::

        loss = loss_weight · Σ_i f_i · loss_i / N,    f_i = regularization if i is a regularization sample else others

    A subclass keeps each argument of its constructor as an attribute of the same name, and defines ``forward``.

    Args:
        tau: temperature τ > 0.
        loss_weight: a finite number.
        samples: None (f = 1), or a dict of ``reading``, see
            :func:`wsld_plugin.losses.functional.regularization_samples`, and ``regularization`` and ``others``,
            numbers ≥ 0, 1 by default. 0 drops a group, 0.5 halves it; the mean still divides by N. A dropped sample
            contributes 0 even if its loss is infinite; a loss of NaN stays NaN.

    Source: Zhou et al., ICLR 2021, arXiv 2102.00650, drop regularization samples and reduce their weight.
    """

    def __init__(self, tau: float, loss_weight: float, samples: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        check_tau(tau)
        check_number('loss_weight', loss_weight)
        if samples is not None:
            if not isinstance(samples, Mapping):
                raise ConfigError(f'samples={samples!r}, expected None or a dict, such as '
                                  "dict(reading='label', regularization=0.5, others=1.0).")
            for key in samples:
                check_choice('a key of samples', key, _SAMPLES)
            samples = {**_SAMPLES, **samples}
            check_choice('samples.reading', samples['reading'], functional.READINGS)
            for key in ('regularization', 'others'):
                check_number(f'samples.{key}', samples[key], 0)
        self.tau, self.loss_weight, self.samples = tau, loss_weight, samples
        self.reduction = 'mean' if samples is None else 'none'  # of the function that computes ``value``

    def reduce(self, value: Tensor, student: Tensor, teacher: Tensor, gt_labels: Tensor | None) -> Tensor:
        """The loss, given the mean over the samples, or (N,) if there are ``samples``."""
        if self.samples is not None:
            if gt_labels is None:
                raise ConfigError('the loss has samples=…, which needs the target, but is given no gt_labels: add '
                                  "gt_labels=dict(recorder='target', from_student=True, data_idx=1) to this loss's "
                                  'loss_forward_mappings.')
            reading, regularization, others = self.samples.values()
            chosen = functional.regularization_samples(student.detach(), teacher, gt_labels, self.tau, reading)
            factors = torch.full_like(value, others).masked_fill(chosen, regularization)
            value = (factors * value.masked_fill((factors == 0) & value.isinf(), 0.0)).mean()
        return self.loss_weight * value

    def extra_repr(self) -> str:
        """``tau``, ``loss_weight`` and the settings that are not the default, for ``print(model)``."""
        defaults = {each.name: each.default for each in inspect.signature(type(self)).parameters.values()}
        return ', '.join(f'{name}={getattr(self, name)!r}' for name, default in defaults.items()
                         if name in ('tau', 'loss_weight') or getattr(self, name, default) != default)


@MODELS.register_module()
class KD(SoftLabelLoss):
    """Knowledge distillation with every factor in which papers and their code differ.

    ::

        loss = loss_weight · multiplier · [τ²] · (1/N or 1/(N·C)) · Σ_i KL(softmax(t_i / τ) ‖ softmax(s_i / τ_s))

    With the defaults it is ``loss_weight · losses.functional.kd(student, teacher, tau)``.

    Args:
        tau, student_tau: temperatures τ > 0 of the teacher and τ_s > 0 of the student; τ_s is τ by default.
        loss_weight: α, factor of the loss.
        tau_squared: whether to multiply by τ².
        mean_over: ``'samples'`` divides by N, ``'elements'`` by N·C, as PyTorch's ``KLDivLoss()`` does up to 2.11.
        multiplier: a second constant factor, for code that has one beside α.
        samples: factors of the regularization samples (both networks at τ) and of the others; see `SoftLabelLoss`.

    Source: Hinton et al., 2015, arXiv 1503.02531; ``student_tau`` to ``multiplier``: Yuan et al., CVPR 2020, arXiv
    1909.11723, whose paper has no τ² and whose code divides by N·C and has a multiplier; ``samples``: Zhou et al.,
    ICLR 2021, arXiv 2102.00650.

    >>> KD(tau=4.0)(torch.zeros(1, 2), torch.tensor([[4., 0.]]))
    tensor(1.7751)
    """

    def __init__(self, tau: float = 1.0, loss_weight: float = 1.0, student_tau: float | None = None,
                 tau_squared: bool = True, mean_over: str = 'samples', multiplier: float = 1.0,
                 samples: Mapping[str, Any] | None = None) -> None:
        super().__init__(tau, loss_weight, samples)
        if student_tau is not None:
            check_tau(student_tau, 'student_tau')
        if not isinstance(tau_squared, bool):  # text such as 'False' would count as True
            raise ConfigError(f'tau_squared={tau_squared!r}, expected True or False.')
        check_choice('mean_over', mean_over, ('samples', 'elements'))
        check_number('multiplier', multiplier)
        self.student_tau, self.tau_squared = student_tau, tau_squared
        self.mean_over, self.multiplier = mean_over, multiplier

    def forward(self, student: Tensor, teacher: Tensor, gt_labels: Tensor | None = None) -> Tensor:
        """The loss of logits (N, C), a scalar in nats; ``gt_labels`` (see `WSLD`) is used by ``samples`` only."""
        value = functional.kd(student, teacher, self.tau, self.reduction, self.student_tau, self.tau_squared)
        classes = student.shape[1] if self.mean_over == 'elements' else 1
        return self.multiplier / classes * self.reduce(value, student, teacher, gt_labels)


@MODELS.register_module()
class WSLD(SoftLabelLoss):
    """Weighted soft labels: ``loss_weight · losses.functional.wsld(student, teacher, gt_labels, tau)``.

    Signature and defaults are those of MMRazor's loss of this name, so ``type='wsld_plugin.WSLD'`` is the only change
    to a config that uses it. Unlike there, targets may be probabilities, the teacher is detached, its cross entropy
    may be given, and half precision is computed in float32. For ImageNet the paper has ``tau=2, loss_weight=2.5``.

    Args:
        tau: temperature τ > 0 of both.
        loss_weight: factor of the mean over the batch.
        num_classes: ignored; the logits have the number of classes.
        samples: factors of the regularization samples and of the others, beside the weights; see `SoftLabelLoss`.

    Source: Zhou et al., ICLR 2021, arXiv 2102.00650.

    >>> WSLD(tau=2.0, loss_weight=2.5)(torch.zeros(1, 2), torch.tensor([[2., 0.]]), torch.tensor([0]))
    tensor(6.9020)
    """

    def __init__(self, tau: float = 1.0, loss_weight: float = 1.0, num_classes: int | None = None,
                 samples: Mapping[str, Any] | None = None) -> None:
        super().__init__(tau, loss_weight, samples)

    def forward(self, student: Tensor, teacher: Tensor, gt_labels: Tensor,
                teacher_ce: Tensor | None = None) -> Tensor:
        """The loss of logits (N, C) for indices (N,) or probabilities (N, C), a scalar in nats.

        ``teacher_ce``, (N,) in nats: see :func:`wsld_plugin.losses.functional.wsld_weights`.
        """
        value = functional.wsld(student, teacher, gt_labels, self.tau, self.reduction, teacher_ce)
        return self.reduce(value, student, teacher, gt_labels)
