"""Measures of the effect of soft labels on a student, for each sample, and their summary over many samples.

A *summary* is a vector on the device of the measures: the number of samples, the number of skipped samples (with a
measure that is not finite), the sum of each of `MEASURES` over the samples, and the histogram of their weights in
`BINS` equal bins from 0 to 1. Summaries of different samples are added.
"""
from __future__ import annotations

import torch
from torch import Tensor

from wsld_plugin.losses import checks, functional

MEASURES = ('regularization_label', 'regularization_row', 'weight', 'bias_norm', 'variance_norm', 'teacher_ce',
            'student_ce', 'agreement')
BINS = 1000
SIZE = 2 + len(MEASURES) + BINS  # of a summary


@torch.no_grad()
def sample_measures(student_logits: Tensor, teacher_logits: Tensor, target: Tensor, tau: float,
                    teacher_ce: Tensor | None = None) -> Tensor:
    """All measures of a batch, without synchronising its device.

    Args:
        student_logits: (N, C).
        teacher_logits: (N, C).
        target: class indices (N,) or probabilities (N, C). All measures of a hidden label (-100) are NaN.
        tau: temperature τ > 0 of both.
        teacher_ce: (N,) in nats, if it is known more exactly than from these logits.

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
    hidden = None if target.is_floating_point() else target == checks.HIDDEN
    if hidden is not None:
        target = target.masked_fill(hidden, 0)
    log_q = torch.log_softmax(student_logits, 1, dtype=dtype)
    student_ce = functional.cross_entropy(log_q, target)
    if teacher_ce is None:
        teacher_ce = functional.cross_entropy(torch.log_softmax(teacher_logits, 1, dtype=dtype), target)
    else:
        teacher_ce = checks.prepare_teacher_ce(teacher_ce, len(teacher_logits), dtype)
    hard = functional.hard_gradient(log_q, target)
    soft = functional.soft_gradient(student_logits, teacher_logits, tau, dtype)
    measures = torch.stack([
        functional.outweighed_at_label(hard, soft, target).to(dtype),
        functional.outweighed_in_row(hard, soft).to(dtype), functional.weights(student_ce, teacher_ce),
        hard.norm(dim=1), (soft - hard).norm(dim=1), teacher_ce, student_ce,
        (student_logits.argmax(1) == teacher_logits.argmax(1)).to(dtype)])
    return measures if hidden is None else measures.masked_fill_(hidden, torch.nan)


def summarize(measures: Tensor) -> Tensor:
    """The summary (SIZE,) of measures (8, N), in float64 where the device has it, without synchronising."""
    dtype = torch.float32 if measures.device.type == 'mps' else torch.float64
    finite = measures.isfinite().all(0)
    kept = torch.where(finite, measures, 0).to(dtype)
    count = finite.sum()[None].to(dtype)
    bins = (kept[MEASURES.index('weight')] * BINS).long().clamp_(0, BINS - 1)  # 1 itself is in the last bin
    histogram = count.new_zeros(BINS).index_add_(0, bins, finite.to(dtype))
    return torch.cat([count, len(finite) - count, kept.sum(1), histogram])


def describe(summary: Tensor) -> dict[str, float]:
    """The mean of each measure, and ``weight_q10``, ``_q50`` and ``_q90``, quantiles right to 0.0005, by name.

    Empty if the summary holds no sample.
    """
    count, _, *sums = summary[:2 + len(MEASURES)].tolist()
    if not count:
        return {}
    cumulated = summary[-BINS:].cpu().cumsum(0)
    quantiles = {f'weight_q{percent}': (int(torch.searchsorted(cumulated, percent / 100 * count)) + 0.5) / BINS
                 for percent in (10, 50, 90)}
    return {**{name: total / count for name, total in zip(MEASURES, sums, strict=True)}, **quantiles}
