"""What the losses compute of some samples, in few passes and largely in place; see ``fused.Rows``.

Products with 1/τ take the place of quotients, which a CPU computes at half the speed.
"""
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from . import checks

# The authors' constant: keeps the ratio finite where the teacher is certain.
_EPS = 1e-7

# nll_loss skips one index silently; this one occurs in no data, so that every wrong index is an error.
_IGNORE_NOTHING = -2**62


def kd_rows(student: Tensor, teacher: Tensor, *, tau: float, student_tau: float, factor: float,
            dtype: torch.dtype, out: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``factor · KL(softmax(t / τ) ‖ softmax(s / τ_s))``; see :func:`wsld_plugin.losses.functional.kd`."""
    # log p - log q sample by sample and class by class: as a difference of sums, a small divergence would lose digits
    log_p = torch.log_softmax(teacher.to(dtype) * (1 / tau), 1)
    p = torch.exp(log_p, out=out)
    log_q = torch.log_softmax(student.to(dtype) * (1 / student_tau), 1)
    divergence = log_p.sub_(log_q).mul_(p).sum(1)
    q = log_q.exp_()
    values = divergence * factor
    return values, torch.full_like(values, -factor / student_tau), p, q


def wsld_rows(student: Tensor, teacher: Tensor, target: Tensor, teacher_ce: Tensor | None, *, tau: float,
              dtype: torch.dtype, out: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``τ² · w · L``, where ``teacher_ce`` may be known; see :func:`wsld_plugin.losses.functional.wsld`."""
    if teacher_ce is None:
        # A tempered softmax is the same of logits and of log-probabilities, and these do not overflow.
        teacher = torch.log_softmax(teacher, 1, dtype=dtype)
        teacher_ce = expected_surprisal(teacher, target)
        teacher.mul_(1 / tau)
    else:
        teacher = teacher.to(dtype) * (1 / tau)
    p = torch.softmax(teacher, 1, out=out)
    del teacher  # its memory can hold q
    student = torch.log_softmax(student, 1, dtype=dtype)
    factors = _negative_weights(expected_surprisal(student, target), teacher_ce).mul_(tau)
    tempered = student * (1 / tau)
    largest = student.amax(1)
    cross = student.mul_(p).sum(1)
    del student
    q, log_q = _softmax(tempered)
    # -τ · L: both parts are below 0, so that no digits cancel.
    values = (cross - torch.sub(largest, log_q, alpha=tau)) * factors
    return values, factors, p, q


def weights(student_ce: Tensor, teacher_ce: Tensor) -> Tensor:
    """``1 - exp(-CE(s) / (CE(t) + 1e-7))`` of cross entropies (N,)."""
    return _negative_weights(student_ce, teacher_ce).neg_()


def expected_surprisal(log_probabilities: Tensor, target: Tensor) -> Tensor:
    """The cross entropy (N,) of log-probabilities (N, C) for a target of indices (N,) or probabilities (N, C).

    Raises:
        ValueError: an index is out of range, on a CPU.
    """
    if target.is_floating_point():
        return (log_probabilities * target).sum(1).neg_()
    try:
        return F.nll_loss(log_probabilities, target, reduction='none', ignore_index=_IGNORE_NOTHING)
    except IndexError as error:
        raise checks.out_of_range(target, log_probabilities.shape[1]) from error


def _negative_weights(student_ce: Tensor, teacher_ce: Tensor) -> Tensor:
    return torch.expm1(student_ce / (-_EPS - teacher_ce))


def _softmax(logits: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The probabilities (N, C), and log of each row's largest (N,).

    The largest one tells the normaliser of all, so that no logarithm and no second exp runs over C.
    """
    probabilities = torch.softmax(logits, 1, out=out)
    return probabilities, probabilities.amax(1).log_()
