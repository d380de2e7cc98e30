"""How far soft labels mislead: unreliability and ambiguity of their k largest classes."""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from wsld_plugin.errors import ConfigError, check_choice

from .biased_bootstrap import bootstrap_intervals, sample_weights
from .biased_companions import PAIRED_CLASSES, Companion, companions
from .biased_labels import BiasedLabels
from .biased_margin import learnability_margin
from .sums import SampleSums, check_samples

__all__ = ['AMBIGUITIES', 'BiasedLabelStatistics', 'BiasedLabels', 'Companion', 'check_max_k', 'learnability_margin']

AMBIGUITIES = ('conditional', 'joint')


class BiasedLabelStatistics(SampleSums):
    """Unreliability and ambiguity of the soft labels, for every k at once, in one pass over the samples.

    ::

        Ω_k(t) = the k classes with the largest logits
        Δ_k = Pr(y ∉ Ω_k)
        γ_k = max_c Pr(c ∈ Ω_k | y ≠ c)      ('conditional')
        γ_k = max_c Pr(c ∈ Ω_k and y ≠ c)    ('joint')

    A temperature changes neither. **Ties are drawn by lot**, and the probabilities are those over samples and lots:
    of e equal logits with g larger ones each is in Ω_k with probability min(max((k - g)/e, 0), 1). So Δ_1 is one
    minus the accuracy, a teacher without any opinion has Δ_k = 1 - k/C, and the order of the classes does not matter.

    Args:
        num_classes: C ≥ 2.
        max_k: K, the largest k, 1 … C; None: C. Memory and time grow with C·K·(1 + bootstrap).
        bootstrap: replicates of the Poisson bootstrap over samples: in each of them a sample counts as often as a
            Poisson(1) number says that is drawn from (seed, key of the sample). Samples are not kept, and parts of a
            data set add up to the whole.
        seed: of the bootstrap, 0 or more.

    Raises:
        ConfigError: a setting that makes no sense.

    Source: Yuan et al., Learning From Biased Soft Labels, NeurIPS 2023, arXiv 2302.08155. Deliberate differences: the
    paper takes a supremum over wrong labels without naming the distribution that it is under. ``'conditional'`` is
    ours: with it, uninformed soft labels have Δ_k + γ_k = 1 for every k, the very edge of what can be learned from;
    ``'joint'``, the smaller of the two, lets them pass. The companion max_{b, c ≠ b} Pr(c ∈ Ω_k | y = b) is this
    project's, never smaller than either, and not part of the condition: γ_k, an average over the other classes, does
    not see that one wrong class always comes with one right class, which a student then cannot tell from it. Chance
    enlarges it where classes have few samples. It is kept up to 100 classes, without intervals.

    >>> statistics = BiasedLabelStatistics(num_classes=2)
    >>> statistics.update(torch.tensor([[2., 1.], [0., 3.], [1., 4.], [5., 0.]]), torch.tensor([0, 1, 1, 1]))
    >>> statistics.result().unreliability
    array([0.25, 0.  ])
    """

    def __init__(self, num_classes: int, max_k: int | None = None, bootstrap: int = 0, seed: int = 0) -> None:
        for name, value, low in (('num_classes', num_classes, 2), ('bootstrap', bootstrap, 0), ('seed', seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ConfigError(f'BiasedLabelStatistics: {name} is {value!r}, but a whole number from {low} up is '
                                  'expected.')
        check_max_k(max_k, num_classes)
        max_k = max_k or num_classes
        shape = num_classes, max_k, 1 + bootstrap  # the first replicate counts every sample once
        shapes: dict[str, tuple[int, ...]] = dict(right=shape, wrong=shape, count=(num_classes, 1 + bootstrap))
        if num_classes <= PAIRED_CLASSES:
            shapes['pairs'] = num_classes, num_classes, max_k
        super().__init__(dict(num_classes=num_classes, max_k=max_k, bootstrap=bootstrap, seed=seed), shapes)

    def update(self, logits: Tensor, target: Tensor, keys: Iterable[int] | None = None) -> None:
        """Take in a batch.

        Args:
            logits: (N, C), on any device; compared in the type they have.
            target: class indices (N,).
            keys: N different whole numbers that name the samples, such as their places in the data set; needed for
                the bootstrap alone.

        Raises:
            TypeError, ValueError: see :func:`wsld_plugin.analysis.sums.check_samples`; no keys, or not N.
        """
        classes, max_k = self.settings['num_classes'], self.settings['max_k']
        logits, target = check_samples(logits, target, classes)
        weights = sample_weights(keys, len(logits), self.settings['bootstrap'], self.settings['seed'])
        weights = weights.to(logits.device)
        self._move(logits.device)
        self.sums['count'].index_add_(0, target, weights)
        ordered = logits.sort(1).values
        below, upto = torch.searchsorted(ordered, logits.contiguous()), torch.searchsorted(
            ordered, logits.contiguous(), right=True)
        # Pr(c ∈ Ω_k) grows from 0 at k = above to 1 at k = above + ties in steps of 1/ties: kept is where steps
        # begin and end, so that a sample costs two additions for a class whatever its ties
        above, ties = classes - upto, upto - below
        for place, sign in ((above, 1.0), (above + ties, -1.0)):
            rows, columns = (place < max_k).nonzero(as_tuple=True)
            steps = (sign / ties[rows, columns].double())[:, None] * weights[rows]
            flat, right = columns * max_k + place[rows, columns], columns == target[rows]
            for name, chosen in (('right', right), ('wrong', ~right)):
                self.sums[name].view(classes * max_k, -1).index_add_(0, flat[chosen], steps[chosen])
            if 'pairs' in self.sums:
                self.sums['pairs'].view(-1).index_add_(0, target[rows] * classes * max_k + flat, steps[:, 0])

    def result(self, ambiguity: str = 'conditional', level: float = 0.95) -> BiasedLabels:
        """The measures of all samples so far.

        Args:
            ambiguity: ``'conditional'`` or ``'joint'``.
            level: of the intervals, between 0 and 1. That of Δ_k has the percentiles of the replicates as ends. γ_k
                is a maximum over classes, which chance makes larger, and resampling once more by as much: its
                interval and that of θ_k are the percentiles reflected about the estimate, which takes this back, so
                that the estimate may lie outside.

        Raises:
            ConfigError: another ambiguity or level. ValueError: there are no samples, or all have one label: how
                often a class is taken for another that it is not can then not be told.
        """
        check_choice('ambiguity', ambiguity, AMBIGUITIES)
        if not 0 < level < 1:
            raise ConfigError(f'level={level!r}, expected a number between 0 and 1, such as 0.95.')
        sums = {name: value.cpu().numpy() for name, value in self.sums.items()}
        total = sums['count'].sum(0)
        if not total[0]:
            raise ValueError('there are no samples to measure.')
        seen = np.flatnonzero(sums['count'][:, 0])
        if len(seen) == 1:
            raise ValueError(f'all {total[0]:,.0f} samples have the label {seen[0]}, 1 of {len(sums["count"])} '
                             'classes: how often a wrong class is named can only be told from samples of two classes '
                             'or more.')
        right, wrong = (_members(sums[name]) for name in ('right', 'wrong'))
        others = (total - sums['count'])[:, None] if ambiguity == 'conditional' else total[None, None]
        with np.errstate(divide='ignore', invalid='ignore'):  # a class without samples; a small replicate
            reliability = np.clip(right.sum(0) / total, 0, 1)
            by_class = 1 - np.clip(right[..., 0] / sums['count'][:, :1], 0, 1)
            shares = np.where(others > 0, np.clip(wrong / others, 0, 1), 0)
        values = dict(unreliability=1 - reliability, ambiguity=shares.max(0))
        values['margin'] = learnability_margin(**values)
        intervals = bootstrap_intervals(values, level) if self.settings['bootstrap'] else {}
        pairs = sums.get('pairs')
        return BiasedLabels(**{name: value[:, 0] for name, value in values.items()}, intervals=intervals,
                            ambiguous_class=shares[..., 0].argmax(0), unreliability_by_class=by_class,
                            num_samples=round(total[0]), companions=[] if pairs is None else companions(
                                _members(pairs.reshape(-1, pairs.shape[2])), sums['count'][:, 0]))


def check_max_k(max_k: int | None, num_classes: int) -> None:
    """Refuse a largest k that the soft labels do not have.

    Raises:
        ConfigError: it is no number from 1 to C.
    """
    if max_k is not None and (isinstance(max_k, bool) or not isinstance(max_k, int)
                              or not 1 <= max_k <= num_classes):
        raise ConfigError(f'max_k={max_k!r}, but of {num_classes} classes the 1 … {num_classes} largest can be '
                          'taken.')


def _members(steps: np.ndarray) -> np.ndarray:
    """From where memberships begin and end to how many there are in Ω_k; k is axis 1 of (C, K, replicates)."""
    return steps.cumsum(1).cumsum(1)
