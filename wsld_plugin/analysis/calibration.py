"""Calibration and confusion of soft labels, from sums over batches and ranks."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from mmengine.dist import all_reduce
from scipy.optimize import minimize_scalar
from torch import Tensor

from wsld_plugin.errors import check_integer
from wsld_plugin.losses.checks import check_range, check_target

if TYPE_CHECKING:
    from typing_extensions import Self

BINS = 15  # of the reliability diagram, and of the entropies
TEMPERATURES = (0.05, 100.0)  # the range that best_temperature searches


class SampleSums:
    """Base class: float64 ``sums`` over samples by name, on the device of the latest logits."""

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        self.sums = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}

    def reduce(self) -> Self:
        """Sum over the ranks, in place on each, and return self. A single process is left unchanged."""
        for value in self.sums.values():
            all_reduce(value)
        return self

    def _move(self, device: torch.device) -> None:
        self.sums = {name: value.to(device) for name, value in self.sums.items()}


def check_samples(logits: Tensor, target: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return logits (N, C) and int64 class indices (N,), detached, on the device of the logits.

    Raises:
        TypeError, ValueError: a wrong type or shape; a class out of range; rows with NaN, +inf or only -inf.
    """
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise TypeError(f'The logits are {getattr(logits, "dtype", type(logits).__name__)}, but a floating point '
                        'tensor (N, C) is expected.')
    if logits.ndim != 2 or logits.shape[1] != num_classes or len(logits) == 0:
        raise ValueError(f'The logits have shape {tuple(logits.shape)}, but (N, {num_classes}) with at least one '
                         'sample is expected.')
    logits, target = logits.detach(), check_target(target, *logits.shape)
    if target.is_floating_point():
        raise ValueError('The target holds probabilities, but class indices (N,) are expected: a soft label is '
                         'right or wrong only where there is one right class. Remove Mixup and CutMix.')
    check_range(target.cpu(), num_classes)
    wrong = (~logits.amax(1).isfinite()).nonzero().flatten().tolist()  # amax is NaN for a row with NaN
    if wrong:
        places = ', '.join(map(str, wrong[:5])) + (', …' if len(wrong) > 5 else '')
        raise ValueError(f'{len(wrong)} of {len(logits)} samples have no usable logits (NaN, +inf or only -inf), at '
                         f'{places} of the batch: the teacher has diverged, its weights are damaged, or its inputs '
                         'are not normalised as it expects.')
    return logits, target.to(logits.device)


class Confused(NamedTuple):
    """A class, a wrong one, samples of the class with the wrong one on top, their share, and mean p[taken_for]."""

    label: int
    taken_for: int
    mistakes: float
    share: float
    probability: float


@dataclass(frozen=True)
class Calibration:
    """Scores of N samples at temperature 1; logarithms in nats.

    Attributes:
        num_samples, accuracy, entropy: N, the share of right top classes, and the mean entropy.
        nll: mean -log p[y]; infinite if a right class has probability 0.
        brier: mean Σ_k (p[k] - 1[k = y])², 0 … 2.
        ece: expected calibration error Σ_b n_b/N · |accuracy_b - confidence_b|.
        bins: the reliability diagram, (B, 3): number of samples, mean confidence, accuracy; NaN for an empty bin.
        entropy_counts: number of samples in each of B equal parts of 0 … log C.
        by_class: (C, 5) for the samples of each label: number, accuracy, nll, entropy, mean p[y]; NaN if empty.
        top: (C, C), number of samples of each class (row) with each class (column) on top; ties count in shares.
        soft: (C, C), mean soft label of each class (row); NaN if empty.
    """

    num_samples: int
    accuracy: float
    nll: float
    brier: float
    ece: float
    entropy: float
    bins: np.ndarray
    entropy_counts: np.ndarray
    by_class: np.ndarray
    top: np.ndarray
    soft: np.ndarray

    def most_confused(self, most: int) -> list[Confused]:
        """At most ``most`` pairs by mistakes, then by mean probability, the largest first; none of probability 0."""
        probability = np.nan_to_num(self.soft)
        np.fill_diagonal(probability, 0)
        order = np.lexsort((-probability.ravel(), -np.where(probability > 0, self.top, 0).ravel()))[:most]
        return [Confused(label, wrong, float(self.top[label, wrong]),
                         float(self.top[label, wrong] / self.by_class[label, 0]), float(probability[label, wrong]))
                for label, wrong in (divmod(int(place), len(probability)) for place in order)
                if probability[label, wrong] > 0]


class CalibrationStatistics(SampleSums):
    """Scores and confusion of soft labels p = softmax(t), in one pass over the samples.

    A sample of confidence max_k p[k] is in bin b of B = `BINS` equal bins if (b - 1)/B < confidence ≤ b/B.
    ``num_classes`` is C ≥ 2; ConfigError if it is less.

    Sources: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599 (calibration error, 15
    bins, temperature); Brier, 1950 (score, here over all classes, not halved). Difference: a tied top class counts
    as a share, not as right or wrong.

    >>> statistics = CalibrationStatistics(num_classes=2)
    >>> statistics.update(torch.zeros(4, 2), torch.tensor([0, 1, 1, 1]))
    >>> statistics.result().brier
    0.5
    """

    def __init__(self, num_classes: int) -> None:
        check_integer('num_classes', num_classes, 2)
        square = num_classes, num_classes
        super().__init__(scores=(num_classes, 6), bins=(BINS, 3), entropies=(BINS, ), top=square, soft=square)

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add a batch: logits (N, C), class indices (N,). Raises as :func:`check_samples`."""
        logits, target = check_samples(logits, target, len(self.sums['scores']))
        self._move(logits.device)
        log_probs = logits.double().log_softmax(1)
        probs = log_probs.exp()
        entropy, confidence = torch.special.entr(probs).sum(1), probs.amax(1)
        top = (logits == logits.amax(1, keepdim=True)).double()
        top /= top.sum(1, keepdim=True)
        log_prob, label_prob, correct = (each.gather(1, target[:, None])[:, 0] for each in (log_probs, probs, top))
        one = torch.ones_like(correct)
        self.sums['top'].index_add_(0, target, top)
        self.sums['soft'].index_add_(0, target, probs)
        self.sums['scores'].index_add_(0, target, torch.stack([
            one, correct, -log_prob, entropy, label_prob, probs.square().sum(1) - 2 * label_prob + 1], dim=1))
        self.sums['bins'].index_add_(0, _bin(confidence), torch.stack([one, confidence, correct], dim=1))
        self.sums['entropies'].index_add_(0, _bin(entropy / math.log(logits.shape[1])), one)

    def result(self) -> Calibration:
        """The scores of all samples so far; ValueError if there are none."""
        sums = {name: value.cpu().numpy() for name, value in self.sums.items()}
        scores, (count, confidence, right) = sums['scores'], sums['bins'].T
        total, correct, nll, entropy, _, brier = scores.sum(0).tolist()
        if not total:
            raise ValueError('there are no samples to measure.')
        with np.errstate(invalid='ignore'):  # empty bins and classes
            return Calibration(
                num_samples=round(total), accuracy=correct / total, nll=nll / total, brier=brier / total,
                entropy=entropy / total, ece=float(np.abs(right - confidence).sum() / total),
                bins=np.stack([count, confidence / count, right / count], axis=1),
                entropy_counts=sums['entropies'].round().astype(int),
                by_class=np.concatenate([scores[:, :1], scores[:, 1:5] / scores[:, :1]], axis=1),
                top=sums['top'], soft=sums['soft'] / scores[:, :1])


def best_temperature(logits: Tensor, target: Tensor) -> tuple[float, float]:
    """The temperature of the smallest negative log-likelihood, for logits (N, C) and class indices (N,).

    ::

        NLL(τ) = mean_i -log softmax(t_i / τ)[y_i],    convex in 1/τ;    Guo et al., ICML 2017, arXiv 1706.04599

    Returns:
        τ, and the NLL there in nats. The teacher is over-confident if τ > 1, under-confident if τ < 1. If every
        sample is right, τ is the lower end of `TEMPERATURES`; at the upper end a uniform soft label is as good.

    Raises:
        TypeError, ValueError: as :func:`check_samples`; a right class has the logit -inf.

    >>> tau, nll = best_temperature(torch.tensor([[9., 0.]] * 4), torch.tensor([0, 0, 0, 1]))
    >>> round(9 / tau, 3)    # log odds of 3 to 1
    1.099
    """
    logits, target = check_samples(logits, target, logits.shape[1] if logits.ndim == 2 else 0)
    rows = logits.double()
    rows = rows - rows.amax(1, keepdim=True)  # keeps the digits at a small temperature
    if rows.gather(1, target[:, None]).isinf().any():
        raise ValueError('a right class has the logit -inf: its NLL is infinite at every temperature.')

    def nll(log_tau: float) -> float:
        return float(torch.nn.functional.cross_entropy(rows / math.exp(log_tau), target))

    ends = tuple(map(math.log, TEMPERATURES))
    inside = float(minimize_scalar(nll, bounds=ends, method='bounded', options=dict(xatol=1e-7)).x)
    best = min((*ends, inside), key=nll)  # the bounded search does not reach an end
    return math.exp(best), nll(best)


def _bin(values: Tensor) -> Tensor:
    """The index of the bin of each value in 0 … 1; a boundary belongs to the bin below it."""
    return ((values * BINS).ceil().long() - 1).clamp(0, BINS - 1)
