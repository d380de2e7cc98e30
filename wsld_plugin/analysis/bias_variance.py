"""Why classifiers that were trained alike err: together (bias), or each in its own way (variance)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import entr, logsumexp

from .bias_variance_input import by_teacher, check_models, check_target, divergence, log_probabilities_of


@dataclass(frozen=True)
class Decomposition:
    """The error of M models on N samples, in nats, float64: ``error = bias + variance`` for each sample.

    Args:
        models: M.
        error: (N,), mean_m KL(q‖p̂_m); for a label y that is mean_m −log p̂_m[y].
        bias: (N,), KL(q‖p̄) of the mean model p̄.
        variance: (N,), mean_m KL(p̄‖p̂_m) ≥ 0, as it was found among M models: too low, see `variance_corrected`.
        mean_model: (N, C), log p̄.
        notes: what a reader of the figures should know, a sentence each.
        within, between: (N,), where models share several teachers: how much models of one teacher vary, and how much
            their teachers add, each without bias. Two teachers tell the second roughly; it may be below zero.
    """

    models: int
    error: np.ndarray
    bias: np.ndarray
    variance: np.ndarray
    mean_model: np.ndarray
    notes: tuple[str, ...] = ()
    within: np.ndarray | None = None
    between: np.ndarray | None = None

    @property
    def variance_corrected(self) -> np.ndarray:
        """(N,), M/(M−1) times `variance`: what infinitely many models would show; see `decompose`."""
        return self.variance * self.models / (self.models - 1)

    @property
    def bias_corrected(self) -> np.ndarray:
        """(N,), error − `variance_corrected`. The error needs no correction. A sample's may be below zero."""
        return self.error - self.variance_corrected

    def totals(self) -> dict[str, float]:
        """Means over the samples: error, corrected bias and variance, and both as they were found (``*_found``)."""
        return dict(error=float(self.error.mean()), bias=float(self.bias_corrected.mean()),
                    variance=float(self.variance_corrected.mean()), bias_found=float(self.bias.mean()),
                    variance_found=float(self.variance.mean()))


def decompose(log_probabilities: Any, target: Any, teachers: Sequence[Any] | None = None) -> Decomposition:
    """Split the error of M models into bias and variance (Heskes 1998; Zhou et al., ICLR 2021, arXiv 2102.00650).

    ::

        p̄ = softmax(mean_m log p̂_m) = exp(mean_m log p̂_m) / Z       the geometric mean
        mean_m KL(q‖p̂_m) = KL(q‖p̄) + mean_m KL(p̄‖p̂_m)              error = bias + variance
        mean_m KL(p̄‖p̂_m) = −log Z = V

    The expectation is over whatever the models differ in: their training images, initial weights, teachers. It
    holds for infinitely many models. With log p̂_m = μ + a_t + e_m, independent a of the teacher and e of the model,
    and Q(x) = ½·Var_{k~p̄}(x[k]), V is to second order the sum over all pairs of models of
    Q(log p̂_m − log p̂_n)/M², and a pair has

    ::

        E Q(log p̂_m − log p̂_n) = 2·w        with one teacher,      w = E Q(e): variance within
                                 2·(w + b)  with two teachers,     b = E Q(a): variance between

    so that V·M/(M−1), the correction for finite M, has no bias where no two models share a teacher. With n_t models
    a teacher, and V_t the V among these alone:

    ::

        E V·M/(M−1) = w + s·b,    s = (1 − Σ_t (n_t/M)²)·M/(M−1)
        w     = Σ_t n_t·V_t / (M − T)                                 pairs of one teacher, as in ANOVA
        w + b = (V − Σ_t (n_t/M)²·V_t) / (1 − Σ_t (n_t/M)²)           pairs of two teachers

    The part (1−s)·b counts as bias, and a note says so. w + b does not take the place of V·M/(M−1), because of few
    teachers b is known so roughly that it would make methods with teachers and without incomparable.

    With labels as targets the error holds the noise of the labels too, and it counts as bias; with the true
    posterior as q it does not (see `entropy`).

    Differs from the paper: the correction for finite M, and the split between teachers, are not in it.

    Args:
        log_probabilities: (M, N, C), or M arrays (N, C), memory maps too: M ≥ 2, N ≥ 1, C ≥ 2. Logits will do:
            log-softmax is taken. One model at a time is held in float64.
        target: q: classes (N,), or probabilities (N, C).
        teachers: (M,), which teacher each model has, such as ``[0, 1, 0, 1]``; None: none, or each its own.

    Raises:
        ConfigError: fewer than two models, no samples, models of different shape, logits that are infinite or NaN
            (softmax first and then the logarithm gives −inf), a target or teachers that do not fit.
    """
    models = check_models(log_probabilities)
    count, samples = len(models), len(models[0])
    target = check_target(target, *models[0].shape)
    groups = by_teacher(teachers, count)
    notes: tuple[str, ...] = (f'All {samples} samples are of class {target[0]}.', ) \
        if target.ndim == 1 and samples > 1 and np.ptp(target) == 0 else ()
    if len(groups) == 1:
        notes += (f'All {count} models have one teacher: bias, variance and the intervals, over the models too, are '
                  'given that teacher. What another teacher would change counts as bias.', )
    elif len(groups) < count:
        notes += (f'{count} models have {len(groups)} teachers: the variance holds '
                  f'{_share_of_teachers(groups, count):.0%} of what differs between teachers, the bias the rest, and '
                  'the intervals do not hold what other teachers would change.', )
    mean_log = np.zeros(models[0].shape)
    of_teacher, of_pairs = np.zeros(samples), np.zeros(samples)
    for group in groups:
        of_group = np.zeros(models[0].shape)
        for model in group:
            of_group += log_probabilities_of(models[model]) / count
        mean_log += of_group
        if len(group) > 1:
            share = len(group) / count
            found = np.maximum(-logsumexp(of_group / share, axis=-1), 0.0)
            of_teacher += share * found
            of_pairs += share ** 2 * found
    log_z = logsumexp(mean_log, axis=-1)
    error, variance = divergence(target, mean_log), np.maximum(-log_z, 0.0)
    mean_model = mean_log - log_z[:, None]
    within = between = None
    if 1 < len(groups) < count:
        within = of_teacher * count / (count - len(groups))
        between = (variance - of_pairs) / _other_pairs(groups, count) - within
    return Decomposition(count, error, divergence(target, mean_model), variance, mean_model, notes, within, between)


def _other_pairs(groups: Sequence[Sequence[int]], models: int) -> float:
    """The share of pairs, a model with itself among them, that have two teachers."""
    return 1 - sum((len(group) / models) ** 2 for group in groups)


def _share_of_teachers(groups: Sequence[Sequence[int]], models: int) -> float:
    return _other_pairs(groups, models) * models / (models - 1)


def entropy(posterior: Any) -> np.ndarray:
    """H(q) = −Σ q log q (N,) in nats: what no model can avoid of the cross entropy with labels drawn from q."""
    return entr(np.asarray(posterior, dtype=np.float64)).sum(axis=-1)
