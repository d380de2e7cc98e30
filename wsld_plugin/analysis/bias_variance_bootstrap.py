"""How far bias and variance would move with other test samples, and with other models."""
from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp

from .bias_variance import Decomposition, decompose, stack_models

QUANTITIES = ('error', 'bias', 'variance')
Draws = dict[str, np.ndarray]

MIN_MODELS = 5  # fewer have too few different resamples


def resample_samples(decomposition: Decomposition, draws: int = 1000, seed: int = 0) -> Draws:
    """Totals of ``draws`` sets of N samples drawn with replacement; the models stay.

    Two decompositions of one test set drawn with one seed are drawn alike, so their differences are paired.

    Returns:
        ``error``, ``bias`` and ``variance``, corrected as in `Decomposition.totals`, (draws,) each.
    """
    samples = len(decomposition.error)
    counts = np.random.default_rng(seed).multinomial(samples, np.full(samples, 1 / samples), size=draws) / samples
    return dict(error=counts @ decomposition.error, bias=counts @ decomposition.bias_corrected,
                variance=counts @ decomposition.variance_corrected)


def resample_models(log_probabilities: Any, target: Any, draws: int = 1000, seed: int = 0) -> Draws:
    """Totals of ``draws`` sets of M models drawn with replacement; the samples stay.

    ::

        variance of a set = −log Z of its geometric mean / (1 − Σ_m w_m²)

    where w_m is the share of model m. A set with repetitions varies less than M different models do, by the factor
    below the line to second order; with equal shares it is (M−1)/M, as in `decompose`. The few sets of one single
    model are left out. With few models the intervals are too narrow: of 200 sets of Gaussian models, 95 % intervals
    of the variance held the truth in 77 to 89 % (M = 5) and 83 to 89 % (M = 10).

    Sets of models that were trained on equal parts and seeds are drawn alike with one seed, so that differences
    between methods are paired.

    Args:
        log_probabilities: as for `decompose`.
        target: as for `decompose`.
        draws: how many.
        seed: of the draws.

    Returns:
        As `resample_samples`.
    """
    log_p = log_softmax(stack_models(log_probabilities), axis=-1)
    models, samples, classes = log_p.shape
    of_model = np.stack([decompose([model, model], target).error.mean() for model in log_p])
    shares = np.random.default_rng(seed).multinomial(models, np.full(models, 1 / models), size=draws) / models
    left = 1 - (shares ** 2).sum(axis=-1)
    shares, left = shares[left > 1e-9], left[left > 1e-9]
    flat = log_p.reshape(models, -1)
    found = np.array([-logsumexp((share @ flat).reshape(samples, classes), axis=-1).mean() for share in shares])
    error, variance = shares @ of_model, found / left
    return dict(error=error, bias=error - variance, variance=variance)


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The central part of the draws that holds ``level`` of them."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
