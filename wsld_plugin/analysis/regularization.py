"""What soft labels do to a student: measures of each sample, and their summary over many samples.

A *summary* is one vector on the device of the measures; the sum of two summaries is that of all their samples. It
holds the number of samples, the number of skipped samples (a measure is not finite), the sum of each of `MEASURES`
over the others, and the histogram of their weights in `BINS` equal bins from 0 to 1.
"""
from __future__ import annotations

import torch
from torch import Tensor

from wsld_plugin.losses import checks
from wsld_plugin.losses.functional import cross_entropy, gradient_parts, wsld_weights

MEASURES = ('regularization_label', 'regularization_row', 'weight', 'bias_norm', 'variance_norm', 'teacher_ce',
            'student_ce', 'agreement')
BINS = 1000
SIZE = 2 + len(MEASURES) + BINS  # of a summary


@torch.no_grad()
def sample_measures(student_logits: Tensor, teacher_logits: Tensor, target: Tensor, tau: float,
                    teacher_ce: Tensor | None = None) -> Tensor:
    """All measures of a batch, on its device, without reading from it.

    Args:
        student_logits, teacher_logits, tau: (N, C), and the temperature τ > 0 of both.
        target: class indices (N,) or probabilities (N, C). All measures of a hidden label (-100) are NaN.
        teacher_ce: (N,) in nats, if it is known more exactly than from these logits.

    Returns:
        (8, N), in the order of `MEASURES`: whether it is a regularization sample, at the label and in the row, 0 or
        1; WSLD's weight, 0 … 1; ‖a‖ and ‖b‖ of its gradient (see :mod:`wsld_plugin.losses.functional`); the
        cross entropy of teacher and student at temperature 1, in nats; whether both have the same largest logit.

    Raises:
        ConfigError, TypeError, ValueError: as :func:`wsld_plugin.losses.functional.wsld`.
    """
    s, t = checks.prepare_logits(student_logits, teacher_logits)
    target = checks.check_target(target, *s.shape)
    hidden = None if target.is_floating_point() else target == checks.HIDDEN
    target = target.to(s.dtype) if hidden is None else target.masked_fill(hidden, 0)
    a, total, y = gradient_parts(s, t, target, tau)
    difference = total - 2 * a
    at_label = (total * y).sum(1) * (difference * y).sum(1) > 0  # see regularization_samples
    in_row = (total * difference).sum(1) > 0
    measures = torch.stack([
        at_label.to(s.dtype), in_row.to(s.dtype), wsld_weights(s, t, target, teacher_ce), a.norm(dim=1),
        (total - a).norm(dim=1), cross_entropy(t, target) if teacher_ce is None else teacher_ce.to(s.dtype),
        cross_entropy(s, target), (s.argmax(1) == t.argmax(1)).to(s.dtype)])
    return measures if hidden is None else measures.masked_fill_(hidden, torch.nan)


def summarize(measures: Tensor) -> Tensor:
    """The summary of measures (8, N): a vector of `SIZE` numbers, float64 if the device has it, without reading."""
    dtype = torch.float32 if measures.device.type == 'mps' else torch.float64
    finite = measures.isfinite().all(0)
    kept = torch.where(finite, measures, 0).to(dtype)
    count = finite.sum()[None].to(dtype)
    bins = (kept[MEASURES.index('weight')] * BINS).long().clamp_(0, BINS - 1)  # 1 itself is in the last bin
    histogram = count.new_zeros(BINS).index_add_(0, bins, finite.to(dtype))
    return torch.cat([count, len(finite) - count, kept.sum(1), histogram])


def describe(summary: Tensor) -> dict[str, float]:
    """The mean of each measure, and quantiles of the weights, by name; nothing if the summary holds no sample.

    The quantiles ``weight_q10``, ``_q50`` and ``_q90`` are read from the histogram and right to 0.0005.
    """
    count, _, *sums = summary[:2 + len(MEASURES)].tolist()
    if not count:
        return {}
    values = {name: total / count for name, total in zip(MEASURES, sums, strict=True)}
    cumulated = summary[-BINS:].cpu().cumsum(0)
    for percent in (10, 50, 90):
        values[f'weight_q{percent}'] = (int(torch.searchsorted(cumulated, percent / 100 * count)) + 0.5) / BINS
    return values
