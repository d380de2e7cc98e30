"""Whether a teacher is as often right as it believes: proper scores, reliability and the best temperature."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from wsld_plugin.errors import ConfigError

from .sums import SampleSums, check_samples, top_shares

TEMPERATURES = (0.05, 100.0)  # where best_temperature looks

_SCORES = ('count', 'correct', 'nll', 'brier', 'entropy', 'label_prob')


@dataclass(frozen=True)
class Calibration:
    """Scores of N samples at temperature 1; nats where they are logarithms.

    Attributes:
        num_samples: N.
        accuracy: share of right top classes; ties as :class:`BiasedLabelStatistics` draws them.
        nll: mean -log p[y]; infinite where a right class has probability 0.
        brier: mean Σ_k (p[k] - 1[k = y])², 0 … 2.
        ece: expected calibration error Σ_b n_b/N · |accuracy_b - confidence_b|.
        entropy: mean entropy.
        bins: of the reliability diagram, (B, 3): how many samples, their mean confidence and accuracy; NaN where
            there are none.
        entropy_counts: how many samples in each of the equal parts of 0 … log C.
        by_class: (C, 5) of the samples labelled so: how many, accuracy, nll, entropy and mean p[y]; NaN for none.
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


class CalibrationStatistics(SampleSums):
    """Scores of soft labels p = softmax(t), in one pass over the samples.

    The confidence max_k p[k] of a sample is in bin b of B, of equal widths, where (b - 1)/B < confidence ≤ b/B.

    Args:
        num_classes: C ≥ 2.
        bins: B, of the reliability diagram and of the entropies.

    Raises:
        ConfigError: a setting that makes no sense.

    Sources: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599, for the error, its 15
    bins and the temperature; Brier, 1950, for his score, here over all classes, not halved. Difference: a top class
    that is tied counts as a share, not as right or wrong.

    >>> statistics = CalibrationStatistics(num_classes=2)
    >>> statistics.update(torch.zeros(4, 2), torch.tensor([0, 1, 1, 1]))
    >>> statistics.result().brier
    0.5
    """

    def __init__(self, num_classes: int, bins: int = 15) -> None:
        for name, value, low in (('num_classes', num_classes, 2), ('bins', bins, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ConfigError(f'CalibrationStatistics: {name} is {value!r}, but a whole number from {low} up is '
                                  'expected.')
        super().__init__(dict(num_classes=num_classes, bins=bins),
                         dict(scores=(num_classes, len(_SCORES)), bins=(bins, 3), entropies=(bins, )))

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Take in a batch: logits (N, C), class indices (N,).

        Raises:
            TypeError, ValueError: see :func:`wsld_plugin.analysis.sums.check_samples`.
        """
        bins = self.settings['bins']
        logits, target = check_samples(logits, target, self.settings['num_classes'])
        self._move(logits.device)
        log_probs = logits.double().log_softmax(1)
        probs = log_probs.exp()
        label = target[:, None]
        label_prob = probs.gather(1, label)[:, 0]
        entropy = torch.special.entr(probs).sum(1)
        correct = top_shares(logits).gather(1, label)[:, 0]
        one = torch.ones_like(correct)
        scores = torch.stack([one, correct, -log_probs.gather(1, label)[:, 0],
                              probs.square().sum(1) - 2 * label_prob + 1, entropy, label_prob], dim=1)
        self.sums['scores'].index_add_(0, target, scores)
        confidence = probs.amax(1)
        self.sums['bins'].index_add_(0, _bin(confidence, bins), torch.stack([one, confidence, correct], dim=1))
        self.sums['entropies'].index_add_(0, _bin(entropy / math.log(logits.shape[1]), bins), one)

    def result(self) -> Calibration:
        """The scores of all samples so far.

        Raises:
            ValueError: there are none.
        """
        sums = {name: value.cpu().numpy() for name, value in self.sums.items()}
        scores, (count, confidence, correct) = sums['scores'], sums['bins'].T
        total = scores[:, 0].sum()
        if not total:
            raise ValueError('there are no samples to measure.')
        means = dict(zip(_SCORES[1:], (scores[:, 1:].sum(0) / total).tolist(), strict=True))
        with np.errstate(invalid='ignore'):  # empty bins and classes
            bins = np.stack([count, confidence / count, correct / count], axis=1)
            by_class = np.concatenate([scores[:, :1], scores[:, [1, 2, 4, 5]] / scores[:, :1]], axis=1)
        return Calibration(
            num_samples=round(total), accuracy=means['correct'], nll=means['nll'], brier=means['brier'],
            entropy=means['entropy'], ece=float(np.abs(correct - confidence).sum() / total), bins=bins,
            entropy_counts=sums['entropies'].round().astype(int), by_class=by_class)


def best_temperature(logits: Tensor, target: Tensor) -> tuple[float, float]:
    """The temperature at which the soft labels have the smallest negative log-likelihood.

    ::

        NLL(τ) = mean_i -log softmax(t_i / τ)[y_i],    convex in 1/τ

    Args:
        logits: (N, C) of samples that are kept.
        target: class indices (N,).

    Returns:
        τ, and the NLL there in nats. τ above 1: over-confident at temperature 1, below: under-confident. Where the
        labels are told perfectly the NLL falls with τ until the lower end of `TEMPERATURES`; the upper end means that
        a uniform soft label is as good.

    Raises:
        TypeError, ValueError: see :func:`wsld_plugin.analysis.sums.check_samples`.

    Source: Guo et al., ICML 2017, arXiv 1706.04599. On other samples than it is measured on the NLL is larger.

    >>> tau, nll = best_temperature(torch.tensor([[9., 0.]] * 4), torch.tensor([0, 0, 0, 1]))
    >>> round(9 / tau, 3)    # log odds of 3 to 1
    1.099
    """
    logits, target = check_samples(logits, target, logits.shape[1] if logits.ndim == 2 else 0)
    # shifted, so that a small temperature keeps the digits
    rows = logits.double()
    rows = rows - rows.amax(1, keepdim=True)

    def nll(log_tau: float) -> float:
        return float(torch.nn.functional.cross_entropy(rows / math.exp(log_tau), target))

    if rows.gather(1, target[:, None]).isinf().any():
        raise ValueError('a right class has the logit -inf: its NLL is infinite at every temperature.')
    ends = math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1])
    inside = float(minimize_scalar(nll, bounds=ends, method='bounded', options=dict(xatol=1e-7)).x)
    best = min((*ends, inside), key=nll)  # the bounded search never reaches an end
    return math.exp(best), nll(best)


def _bin(values: Tensor, bins: int) -> Tensor:
    """Which of the equal parts of 0 … 1 each value is in: a boundary belongs to the part below it."""
    return ((values * bins).ceil().long() - 1).clamp(0, bins - 1)
