"""What soft labels do to a student, sample by sample, and summed up over many.

A *summary* adds up: those of two sets of samples give that of both. It is a dict of ``count`` (samples), ``left_out``
(samples with a measure that is not finite, which are not in ``count``), ``sums`` (one for each of `MEASURES`) and
``histogram`` (of the weights: `BINS` equal bins from 0 to 1).
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsld_plugin.losses import checks
from wsld_plugin.losses.functional import cross_entropy as expected_surprisal
from wsld_plugin.losses.functional import (
    gradient_parts,
    hard_gradient,
    outweighed_at_label,
    outweighed_in_row,
    regularization_samples,
    soft_gradient,
    weights,
)

__all__ = ['BINS', 'MEASURES', 'add', 'describe', 'empty', 'gradient_parts', 'regularization_samples',
           'sample_measures', 'summarize']

MEASURES = ('regularization_label', 'regularization_row', 'weight', 'bias_norm', 'variance_norm', 'teacher_ce',
            'student_ce', 'agreement')
BINS = 1000

Summary = dict[str, Any]


@torch.no_grad()
def sample_measures(student_logits: Tensor, teacher_logits: Tensor, target: Tensor, tau: float,
                    teacher_ce: Tensor | None = None) -> Tensor:
    """All measures of a batch, on its device and without a wait for it.

    Args:
        student_logits: (N, C).
        teacher_logits: (N, C).
        target: class indices (N,) or probabilities (N, C).
        tau: temperature τ > 0 of both.
        teacher_ce: (N,) in nats where it is known more exactly than these logits tell it.

    Returns:
        (8, N), in the order of `MEASURES`: whether it is a regularization sample, at the label and in the row, 0 or
        1; WSLD's weight, 0 … 1; ‖a‖ and ‖b‖ of its gradient (see :mod:`wsld_plugin.losses.functional`); the
        cross entropy of teacher and student at temperature 1, in nats; whether both have the same largest logit.

    Raises:
        ConfigError, TypeError, ValueError: as :func:`wsld_plugin.losses.functional.wsld`.
    """
    checks.check_tau(tau)
    student_logits, teacher_logits, dtype = checks.prepare_logits(student_logits, teacher_logits)
    target = checks.prepare_target(target, student_logits, dtype)
    log_q = torch.log_softmax(student_logits, 1, dtype=dtype)
    student_ce = expected_surprisal(log_q, target)
    if teacher_ce is None:
        teacher_ce = expected_surprisal(torch.log_softmax(teacher_logits, 1, dtype=dtype), target)
    else:
        teacher_ce = checks.prepare_teacher_ce(teacher_ce, len(teacher_logits), dtype)
    hard = hard_gradient(log_q, target)
    soft = soft_gradient(student_logits, teacher_logits, tau, dtype)
    flags = torch.stack([outweighed_at_label(hard, soft, target), outweighed_in_row(hard, soft)])
    agreement = student_logits.argmax(1) == teacher_logits.argmax(1)
    bias_norm, variance_norm = hard.norm(dim=1), (soft - hard).norm(dim=1)
    return torch.cat([flags.to(dtype), torch.stack([
        weights(student_ce, teacher_ce), bias_norm, variance_norm, teacher_ce, student_ce, agreement.to(dtype)])])


def summarize(measures: np.ndarray) -> Summary:
    """The summary of measures (8, N)."""
    finite = np.isfinite(measures).all(0)
    kept = measures[:, finite].astype(np.float64)
    bins = (kept[MEASURES.index('weight')] * BINS).astype(np.int64).clip(0, BINS - 1)  # 1 itself is in the last one
    return dict(count=kept.shape[1], left_out=int((~finite).sum()), sums=kept.sum(1),
                histogram=np.bincount(bins, minlength=BINS))


def empty() -> Summary:
    """The summary of no sample."""
    return dict(count=0, left_out=0, sums=np.zeros(len(MEASURES)), histogram=np.zeros(BINS, np.int64))


def add(first: Summary, second: Summary) -> Summary:
    """The summary of both."""
    return {key: first[key] + second[key] for key in first}


def describe(summary: Mapping[str, Any]) -> dict[str, float]:
    """The mean of each measure, of the first two and the last the fraction of samples; quantiles of the weights.

    Quantiles come from the histogram: ``weight_q10``, ``_q50`` and ``_q90``, to 0.0005.

    Returns:
        Numbers by name; nothing where no sample was counted.
    """
    if not summary['count']:
        return {}
    values = {name: float(total) / summary['count'] for name, total in zip(MEASURES, summary['sums'], strict=True)}
    cumulated = np.cumsum(summary['histogram'])
    for percent in (10, 50, 90):
        place = int(np.searchsorted(cumulated, percent / 100 * summary['count']))
        values[f'weight_q{percent}'] = (place + 0.5) / BINS
    return values
