"""Unreliability and ambiguity of the k largest classes of soft labels, and the margin that follows from both."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsld_plugin.errors import check_integer

from .calibration import SampleSums, check_samples

_PAIRED_CLASSES = 100  # up to here, pairs of classes are counted: C²·K numbers, 8 MB
_REFLECTED = dict(ambiguity=(0.0, 1.0), margin=(-np.inf, float(np.log(2))))  # with their ranges


class Companion(NamedTuple):
    """A right class b, a wrong class c, and how often c is among the k largest of b: Pr(c ∈ Ω_k | y = b)."""

    label: int
    wrong: int
    share: float


@dataclass(frozen=True)
class BiasedLabels:
    """Measures for k = 1 … K, each an array (K,); see `BiasedLabelStatistics`.

    Attributes:
        unreliability, ambiguity, ambiguous_class: Δ_k, γ_k, and the class of γ_k, the first of equals.
        margin: θ_k in nats, at most log 2; see :func:`learnability_margin`.
        unreliability_by_class: (C, K), Pr(y ∉ Ω_k | y = c); NaN for a class without samples.
        companions: for each k the pair with the largest share, the first of equals; empty above 100 classes.
        intervals: 95 %, (2, K), of ``unreliability``, ``ambiguity`` and ``margin``; empty without bootstrap.
    """

    unreliability: np.ndarray
    ambiguity: np.ndarray
    ambiguous_class: np.ndarray
    margin: np.ndarray
    unreliability_by_class: np.ndarray
    companions: list[Companion]
    intervals: dict[str, np.ndarray]

    @property
    def best_k(self) -> int | None:
        """The smallest k of the largest margin; None if no margin is above 0."""
        return int(self.margin.argmax()) + 1 if self.margin.max() > 1e-9 else None  # rounding at k = C


class BiasedLabelStatistics(SampleSums):
    """Unreliability and ambiguity of soft labels, for every k at once, in one pass over the samples.

    ::

        Ω_k(t) = the k classes with the largest logits
        Δ_k = Pr(y ∉ Ω_k)
        γ_k = max_c Pr(c ∈ Ω_k | y ≠ c)

    They do not depend on the temperature. **Ties are broken at random**: each of e equal logits with g larger ones is
    in Ω_k with probability min(max((k - g)/e, 0), 1). So Δ_1 = 1 - accuracy, and a uniform teacher has Δ_k = 1 - k/C.

    Args:
        num_classes, max_k: C ≥ 2, and K, the largest k, 1 … C; None: C. Other values raise ConfigError.
        bootstrap: replicates of a Poisson bootstrap: in each, a sample has a Poisson(1) weight drawn from its key, so
            that no samples are kept and ranks add up. Memory and time grow with C·K·(1 + bootstrap).

    Source: Yuan et al., Learning From Biased Soft Labels, NeurIPS 2023, arXiv 2302.08155. Deliberate differences: the
    paper takes a supremum over wrong labels without naming the distribution. Conditioned on y ≠ c, uninformed soft
    labels have Δ_k + γ_k = 1 for every k, the limit of the condition; the joint probability would accept them. The
    companion max_{b, c ≠ b} Pr(c ∈ Ω_k | y = b) is ours, and not part of the condition: γ_k averages over the other
    classes and does not show a wrong class that always accompanies one right class, which a student cannot
    distinguish. Chance enlarges it for classes of few samples.

    >>> statistics = BiasedLabelStatistics(num_classes=2)
    >>> statistics.update(torch.tensor([[2., 1.], [0., 3.], [1., 4.], [5., 0.]]), torch.tensor([0, 1, 1, 1]))
    >>> statistics.result().unreliability
    array([0.25, 0.  ])
    """

    def __init__(self, num_classes: int, max_k: int | None = None, bootstrap: int = 0) -> None:
        check_integer('num_classes', num_classes, 2)
        if max_k is not None:
            check_integer('max_k', max_k, 1, num_classes)
        check_integer('bootstrap', bootstrap, 0)
        self.num_classes, self.max_k, self.bootstrap = num_classes, max_k or num_classes, bootstrap
        shape = num_classes, self.max_k, 1 + bootstrap  # the first replicate counts every sample once
        super().__init__(right=shape, wrong=shape, count=(num_classes, 1 + bootstrap), **(
            dict(pairs=(num_classes, num_classes, self.max_k)) if num_classes <= _PAIRED_CLASSES else {}))

    def update(self, logits: Tensor, target: Tensor, keys: Iterable[int] | None = None) -> None:
        """Add a batch: logits (N, C), compared in their own type, and class indices (N,).

        ``keys`` are N different integers that identify the samples, such as their indices, for the bootstrap only.
        Raises as :func:`wsld_plugin.analysis.calibration.check_samples`, and ValueError without N keys.
        """
        classes, max_k = self.num_classes, self.max_k
        logits, target = check_samples(logits, target, classes)
        weights = torch.ones(len(logits), 1 + self.bootstrap, dtype=torch.float64)
        if self.bootstrap:
            keys = [] if keys is None else [int(key) for key in keys]
            if len(keys) != len(logits):
                raise ValueError(f'The bootstrap needs a key for each of the {len(logits)} samples, such as its '
                                 f'index in the data set, but {len(keys)} were given.')
            weights[:, 1:] = torch.from_numpy(poisson_weights(keys, self.bootstrap))
        weights = weights.to(logits.device)
        self._move(logits.device)
        self.sums['count'].index_add_(0, target, weights)
        ordered, logits = logits.sort(1).values, logits.contiguous()
        below, upto = torch.searchsorted(ordered, logits), torch.searchsorted(ordered, logits, right=True)
        # Pr(c ∈ Ω_k) grows from 0 at k = above to 1 at k = above + ties in steps of 1/ties. Only the beginning and
        # the end of the steps are stored.
        above, ties = classes - upto, upto - below
        for place, sign in ((above, 1.0), (above + ties, -1.0)):
            rows, columns = (place < max_k).nonzero(as_tuple=True)
            steps = (sign / ties[rows, columns].double())[:, None] * weights[rows]
            flat, right = columns * max_k + place[rows, columns], columns == target[rows]
            for name, chosen in (('right', right), ('wrong', ~right)):
                self.sums[name].view(classes * max_k, -1).index_add_(0, flat[chosen], steps[chosen])
            if 'pairs' in self.sums:
                self.sums['pairs'].view(-1).index_add_(0, target[rows] * classes * max_k + flat, steps[:, 0])

    def result(self) -> BiasedLabels:
        """The measures of all samples so far. ValueError if there are none, or all have one label.

        The interval of Δ_k has percentiles of the replicates as ends. γ_k is a maximum over classes, so it is biased
        upwards, and the bootstrap adds the same bias again. Its percentiles and those of θ_k are therefore reflected
        about the estimate, which can lie outside its interval.
        """
        sums = {name: value.cpu().numpy() for name, value in self.sums.items()}
        total = sums['count'].sum(0)
        if not total[0]:
            raise ValueError('there are no samples to measure.')
        seen = np.flatnonzero(sums['count'][:, 0])
        if len(seen) == 1:
            raise ValueError(f'all {total[0]:,.0f} samples have the label {seen[0]}, 1 of {len(sums["count"])} '
                             'classes: the ambiguity is defined for samples of two classes or more.')
        # from the steps of membership to the number of members of Ω_k
        right, wrong = (sums[name].cumsum(1).cumsum(1) for name in ('right', 'wrong'))
        others = (total - sums['count'])[:, None]
        with np.errstate(divide='ignore', invalid='ignore'):  # a class without samples; a small replicate
            reliability = np.clip(right.sum(0) / total, 0, 1)
            by_class = 1 - np.clip(right[..., 0] / sums['count'][:, :1], 0, 1)
            shares = np.where(others > 0, np.clip(wrong / others, 0, 1), 0)
        values = dict(unreliability=1 - reliability, ambiguity=shares.max(0))
        values['margin'] = learnability_margin(**values)
        return BiasedLabels(**{name: value[:, 0] for name, value in values.items()},
                            intervals=_intervals(values) if self.bootstrap else {},
                            ambiguous_class=shares[..., 0].argmax(0), unreliability_by_class=by_class,
                            companions=_companions(sums['pairs'], sums['count'][:, 0]) if 'pairs' in sums else [])


def learnability_margin(unreliability: np.ndarray, ambiguity: np.ndarray) -> np.ndarray:
    """The margin θ by which the right classes can be learned from misleading soft labels alone.

    ::

        θ = log(2(1 - Δ)/(1 - Δ + γ))     > 0 exactly where Δ + γ < 1

    Δ and γ are arrays of equal shape in 0 … 1; θ is in nats, at most log 2, and -inf where Δ = 1.

    Source: Yuan et al., arXiv 2302.08155: θ > 0 is sufficient, under further conditions, for a learner that sees only
    these labels to find the right classes from enough samples. It is not necessary, and does not say how many are
    enough, or whether soft labels are better than hard ones.

    >>> learnability_margin(np.array([0.0, 0.5]), np.array([0.0, 0.5])).round(4)
    array([0.6931, 0.    ])
    """
    reliability = 1 - np.asarray(unreliability, dtype=np.float64)
    with np.errstate(divide='ignore', invalid='ignore'):
        ratio = np.where(reliability > 0, np.asarray(ambiguity) / reliability, np.inf)
    return np.log(2) - np.log1p(ratio)


def poisson_weights(keys: Iterable[int], replicates: int) -> np.ndarray:
    """The weights (N, replicates) of samples in bootstrap replicates: Poisson(1) numbers from their keys, float64."""
    rows = [np.random.Generator(np.random.Philox(key=np.array([0, key % 2**64], dtype=np.uint64))).poisson(
        1.0, replicates) for key in keys]
    return np.array(rows, dtype=np.float64).reshape(-1, replicates)


def _companions(pairs: np.ndarray, count: np.ndarray) -> list[Companion]:
    """The pair of the largest Pr(c ∈ Ω_k | y = b), c ≠ b, for each k."""
    shares = np.clip(pairs.cumsum(2).cumsum(2) / np.maximum(count, 1)[:, None, None], 0, 1)
    shares[range(len(count)), range(len(count))] = -1  # the right class itself
    shares[count == 0] = -1
    flat = shares.reshape(-1, shares.shape[2])
    return [Companion(*divmod(int(place), len(count)), float(flat[place, k]))
            for k, place in enumerate(flat.argmax(0))]


def _intervals(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Lower and upper ends, (2, K), of each measure (K, 1 + replicates): the estimate, then its replicates."""
    found = {}
    for name, value in values.items():
        ends = np.quantile(value[:, 1:], [.025, .975], axis=1, method='inverted_cdf')
        if name in _REFLECTED:  # the basic bootstrap; the interval of an estimate of -inf is a point
            finite = np.isfinite(value[:, 0])
            ends = np.where(finite, 2 * np.where(finite, value[:, 0], 0) - ends[::-1], value[:, 0])
            ends = ends.clip(*_REFLECTED[name])
        found[name] = ends
    return found
