"""Why classifiers that were trained alike err: together (bias), or each in its own way (variance)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import entr, log_softmax, logsumexp, xlogy

from wsld_plugin.errors import ConfigError


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
    """

    models: int
    error: np.ndarray
    bias: np.ndarray
    variance: np.ndarray
    mean_model: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def variance_corrected(self) -> np.ndarray:
        """(N,), M/(M−1) times `variance`: what infinitely many models would show, to second order.

        With log p̂_m = μ + ε_m the variance is ½·Var_{k~p̄}(ε_m[k]) + O(ε³), averaged over m, and among M independent
        models ε_m is taken about its own mean, which leaves (M−1)/M of its spread.
        """
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


def decompose(log_probabilities: Any, target: Any) -> Decomposition:
    """Split the error of M models into bias and variance (Heskes 1998; Zhou et al., ICLR 2021, arXiv 2102.00650).

    ::

        p̄ = softmax(mean_m log p̂_m) = exp(mean_m log p̂_m) / Z       the geometric mean
        mean_m KL(q‖p̂_m) = KL(q‖p̄) + mean_m KL(p̄‖p̂_m)              error = bias + variance
        mean_m KL(p̄‖p̂_m) = −log Z

    The expectation is over whatever the models differ in: their training images, initial weights, teachers. It
    holds for infinitely many models; of M independent ones the ``*_corrected`` properties are the estimates.
    With labels as targets the error holds the noise of the labels too, and it counts as bias; with the true
    posterior as q it does not (see `entropy`).

    Args:
        log_probabilities: (M, N, C), or M arrays (N, C): M ≥ 2, N ≥ 1, C ≥ 2. Logits will do: log-softmax is taken.
        target: q: classes (N,), or probabilities (N, C).

    Raises:
        ConfigError: fewer than two models, no samples, models of different shape, logits that are infinite or NaN
            (softmax first and then the logarithm gives −inf), a target that does not fit.
    """
    logits = stack_models(log_probabilities)
    models, samples, classes = logits.shape
    posterior, notes = _probabilities(target, samples, classes)
    mean_log = log_softmax(logits, axis=-1).mean(axis=0)
    log_z = logsumexp(mean_log, axis=-1)
    mean_model = mean_log - log_z[:, None]
    of_target = xlogy(posterior, posterior).sum(axis=-1)
    error, bias = (of_target - (posterior * log_p).sum(axis=-1) for log_p in (mean_log, mean_model))
    return Decomposition(models, error, bias, np.maximum(-log_z, 0.0), mean_model, notes)


def split_variance(log_probabilities: Any) -> tuple[np.ndarray, np.ndarray]:
    """The variance of models in groups, such as students of T teachers, K to each: within and between the groups.

    −log Z of all is exactly the mean over groups of −log Z_t plus −log Z of the groups' mean models. Both are
    corrected to second order for models that are all trained on images of their own: within by K/(K−1), between by
    T/(T−1), less within/K, since the mean of K models still varies.

    Args:
        log_probabilities: (T, K, N, C), T and K ≥ 2.

    Returns:
        Within and between, (N,) each, in nats. Between may be below zero where the groups do not differ.

    Raises:
        ConfigError: as `decompose`.
    """
    groups = [decompose(group, np.zeros(np.shape(group)[1], dtype=int)) for group in log_probabilities]
    means = decompose([group.mean_model for group in groups], np.zeros(len(groups[0].error), dtype=int))
    within = np.mean([group.variance_corrected for group in groups], axis=0)
    return within, means.variance_corrected - within / groups[0].models


def entropy(posterior: Any) -> np.ndarray:
    """H(q) = −Σ q log q (N,) in nats: what no model can avoid of the cross entropy with labels drawn from q."""
    return entr(np.asarray(posterior, dtype=np.float64)).sum(axis=-1)


def stack_models(log_probabilities: Any) -> np.ndarray:
    """(M, N, C) in float64, checked; see `decompose`."""
    models: Sequence[np.ndarray] = [np.asarray(model, dtype=np.float64) for model in log_probabilities]
    if len(models) < 2:
        raise ConfigError(f'{len(models)} model given: the variance is that between models, and takes at least 2.')
    for number, model in enumerate(models):
        if model.shape != models[0].shape:
            raise ConfigError(f'model {number} has log-probabilities of shape {model.shape}, model 0 of '
                              f'{models[0].shape}: all must have seen the same samples.')
        unusable = int((~np.isfinite(model)).any(axis=-1).sum()) if model.ndim else 0
        if unusable:
            raise ConfigError(f'model {number} has infinite or NaN log-probabilities for {unusable} of {len(model)} '
                              'samples: its training diverged, or log was taken after softmax.')
    if models[0].ndim != 2 or models[0].shape[0] < 1 or models[0].shape[1] < 2:
        raise ConfigError(f'log-probabilities have the shape {models[0].shape} a model, expected (N, C) with at '
                          'least one sample and two classes.')
    return np.stack(models)


def _probabilities(target: Any, samples: int, classes: int) -> tuple[np.ndarray, tuple[str, ...]]:
    target = np.asarray(target)
    if target.ndim == 1 and len(target) == samples and np.issubdtype(target.dtype, np.integer):
        if target.min() < 0 or target.max() >= classes:
            raise ConfigError(f'target has classes {target.min()} … {target.max()}, expected 0 … {classes - 1}.')
        notes = (f'All {samples} samples are of class {target[0]}.', ) if samples > 1 and np.ptp(target) == 0 else ()
        return np.eye(classes)[target], notes
    if target.shape != (samples, classes):
        raise ConfigError(f'target of shape {target.shape} and type {target.dtype}, expected classes ({samples},) '
                          f'as integers or probabilities ({samples}, {classes}).')
    target = target.astype(np.float64)
    if not (np.isfinite(target).all() and (target >= 0).all() and np.allclose(target.sum(axis=-1), 1, atol=1e-5)):
        raise ConfigError('target holds rows that are no probabilities: expected numbers ≥ 0 that sum to 1.')
    return target, ()
