"""The two parts of a soft label's gradient, and the samples where the second outweighs the first.

::

    L_kd = -τ² Σ_k softmax(t / τ)[k] · log_softmax(s / τ)[k],    CE = -Σ_k y[k] · log_softmax(s)[k]

    a = ∂CE/∂s          = softmax(s) - y                                the bias part
    b = ∂(L_kd - CE)/∂s = τ · (softmax(s / τ) - softmax(t / τ)) - a     the variance part

A regularization sample is one with |b| > |a|. No code for counting them was published, so there are two readings:

- ``'label'``, the gradient at the label's logit: ``|b_y| > |a_y|``. With u = 1 - softmax(s)[y] and
  v = τ·(softmax(s / τ)[y] - softmax(t / τ)[y]) it is v > 0 or v < -2u. For probabilities y, as of Mixup, a_y and b_y
  are the means Σ_k y[k]·a[k] and Σ_k y[k]·b[k], equal to the above for one-hot rows; the source has indices only.
- ``'row'``, the whole row: ``‖b‖ > ‖a‖``, Euclidean.

Both are of one sample, without loss weights and without 1/N, and depend on τ: counts compare at equal τ only. Logits
are as in :mod:`wsld_plugin.losses.functional`; nothing here has a gradient. In float32, differences of
probabilities below 1e-7 are rounding.

Source: Zhou et al., Rethinking Soft Labels for Knowledge Distillation, ICLR 2021, arXiv 2102.00650.
"""
from __future__ import annotations

import torch
from torch import Tensor

from wsld_plugin.errors import check_choice

from . import checks

READINGS = ('label', 'row')


def gradient_parts(student_logits: Tensor, teacher_logits: Tensor, target: Tensor, tau: float,
                   ) -> tuple[Tensor, Tensor]:
    """The bias part a and the variance part b of each sample's gradient; see the equations above.

    Args:
        student_logits: ``s``, (N, C).
        teacher_logits: ``t``, (N, C).
        target: class indices (N,) or probabilities (N, C).
        tau: temperature τ > 0 of both.

    Returns:
        a and b, (N, C) each; their sum is ∂L_kd/∂s. Each row of either sums to 0.

    Raises:
        ConfigError, TypeError, ValueError: as :func:`wsld_plugin.losses.functional.wsld`.

    >>> gradient_parts(torch.zeros(1, 2), torch.tensor([[0., 2.]]), torch.tensor([1]), tau=1.0)
    (tensor([[ 0.5000, -0.5000]]), tensor([[-0.1192,  0.1192]]))
    """
    hard, soft = _gradients(student_logits, teacher_logits, target, tau)
    return hard, soft - hard


def regularization_samples(student_logits: Tensor, teacher_logits: Tensor, target: Tensor, tau: float,
                           reading: str = 'label') -> Tensor:
    """Which samples are regularization samples, (N,) bool: where the variance part outweighs the bias part.

    Args:
        student_logits: ``s``, (N, C).
        teacher_logits: ``t``, (N, C).
        target: class indices (N,) or probabilities (N, C).
        tau: temperature τ > 0 of both.
        reading: ``'label'`` or ``'row'``, as above. Equal logits are none in either: there b = -a.

    Raises:
        ConfigError, TypeError, ValueError: as :func:`wsld_plugin.losses.functional.wsld`, or another reading.

    >>> student, teacher = torch.tensor([[0., 1.], [0., 1.]]), torch.tensor([[0., 2.], [0., .5]])
    >>> regularization_samples(student, teacher, torch.tensor([1, 1]), tau=1.0)
    tensor([False,  True])
    """
    check_choice('reading', reading, READINGS)
    hard, soft = _gradients(student_logits, teacher_logits, target, tau)
    if reading == 'row':
        return outweighed_in_row(hard, soft)
    return outweighed_at_label(hard, soft, checks.prepare_target(target, student_logits, hard.dtype))


def hard_gradient(log_probabilities: Tensor, target: Tensor) -> Tensor:
    """a of log_softmax(s) for a checked target, (N, C)."""
    probabilities = log_probabilities.exp()
    if target.is_floating_point():
        return probabilities.sub_(target)
    label = target[:, None]
    return probabilities.scatter_add_(1, label, probabilities.new_full((1, 1), -1.0).expand_as(label))


def soft_gradient(student_logits: Tensor, teacher_logits: Tensor, tau: float, dtype: torch.dtype) -> Tensor:
    """a + b, (N, C): ∂L_kd/∂s of checked logits."""
    p, q = (torch.softmax(logits.to(dtype) * (1 / tau), 1) for logits in (teacher_logits, student_logits))
    return q.sub_(p).mul_(tau)


# |b| > |a| is (a + b)·((a + b) - 2a) > 0, which is exact where a + b is so small that b rounds to -a

def outweighed_at_label(hard: Tensor, soft: Tensor, target: Tensor) -> Tensor:
    """Whether |b_y| > |a_y|, (N,), given a and a + b."""
    if target.is_floating_point():
        at_label, soft_at_label = (hard * target).sum(1), (soft * target).sum(1)
    else:
        at_label, soft_at_label = (each.gather(1, target[:, None])[:, 0] for each in (hard, soft))
    return soft_at_label * (soft_at_label - 2 * at_label) > 0


def outweighed_in_row(hard: Tensor, soft: Tensor) -> Tensor:
    """Whether ‖b‖ > ‖a‖, (N,), given a and a + b."""
    return (soft * torch.sub(soft, hard, alpha=2)).sum(1) > 0


@torch.no_grad()
def _gradients(student_logits: Tensor, teacher_logits: Tensor, target: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    checks.check_tau(tau)
    student_logits, teacher_logits, dtype = checks.prepare_logits(student_logits, teacher_logits)
    target = checks.prepare_target(target, student_logits, dtype)
    if not target.is_floating_point():
        checks.check_range(target, student_logits.shape[1])
    return (hard_gradient(torch.log_softmax(student_logits, 1, dtype=dtype), target),
            soft_gradient(student_logits, teacher_logits, tau, dtype))
