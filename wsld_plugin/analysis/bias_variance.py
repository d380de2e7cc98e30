"""Why models that were trained alike err: together (bias), or each in its own way (variance)."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import entr, log_softmax, logsumexp, xlogy

from wsld_plugin.errors import ConfigError

QUANTITIES = ('error', 'bias', 'variance')
MIN_MODELS = 5  # fewer models have too few different resamples

Draws = dict[str, np.ndarray]


@dataclass(frozen=True)
class Decomposition:
    """The error of M models on N samples, in nats, float64: ``error = bias + variance`` for each sample.

    Args:
        models: M.
        error: (N,), mean_m KL(q‖p̂_m); for a label y, mean_m −log p̂_m[y].
        bias: (N,), KL(q‖p̄) of the mean model p̄.
        variance: (N,), mean_m KL(p̄‖p̂_m) ≥ 0, as found among M models: too low, see `variance_corrected`.
        mean_model: (N, C), log p̄.
        notes: sentences that a reader of the numbers should know.
    """

    models: int
    error: np.ndarray
    bias: np.ndarray
    variance: np.ndarray
    mean_model: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def variance_corrected(self) -> np.ndarray:
        """(N,), M/(M−1) times `variance`: an estimate for infinitely many models; see `decompose`."""
        return self.variance * self.models / (self.models - 1)

    @property
    def bias_corrected(self) -> np.ndarray:
        """(N,), error − `variance_corrected`; may be below zero for a sample. The error needs no correction."""
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

    The expectation is over whatever the models differ in: training images, initial weights, teachers. It holds for
    infinitely many models. To second order V is a sum over pairs of models, in which a model paired with itself adds
    nothing, so that V·M/(M−1) has no bias if no two models share a teacher. If n_t models share teacher t, it holds
    (1 − Σ_t (n_t/M)²)·M/(M−1) of the variance between teachers; the rest counts as bias, and a note says so.

    With labels as targets, their noise is part of the error and counts as bias; with the true posterior as q it is
    not (see `entropy`). The correction for finite M is ours, not the paper's.

    Args:
        log_probabilities: (M, N, C), or M arrays (N, C), memory maps too: M ≥ 2, N ≥ 1, C ≥ 2. May be logits:
            log-softmax is taken. One model at a time is held in float64.
        target: q: classes (N,), or probabilities (N, C).
        teachers: (M,), the teacher of each model, such as ``[0, 1, 0, 1]``; None: none, or each its own.

    Raises:
        ConfigError: fewer than two models, no samples, models of different shape, logits that are infinite or NaN
            (the logarithm of a softmax gives −inf), a target or teachers that do not fit.
    """
    models = check_models(log_probabilities)
    count, samples = len(models), len(models[0])
    target = check_target(target, *models[0].shape)
    mean_log = np.zeros(models[0].shape)
    for model in models:
        mean_log += log_softmax(np.asarray(model, dtype=np.float64), axis=-1) / count
    log_z = logsumexp(mean_log, axis=-1)
    mean_model = mean_log - log_z[:, None]
    notes = [f'All {samples} samples are of class {target[0]}.'] \
        if target.ndim == 1 and samples > 1 and np.ptp(target) == 0 else []
    return Decomposition(count, _divergence(target, mean_log), _divergence(target, mean_model),
                         np.maximum(-log_z, 0.0), mean_model, (*notes, *_notes_on_teachers(teachers, count)))


def entropy(posterior: Any) -> np.ndarray:
    """H(q) = −Σ q log q (N,) in nats: the irreducible part of the cross entropy with labels drawn from q."""
    return entr(np.asarray(posterior, dtype=np.float64)).sum(axis=-1)


def resample_samples(decomposition: Decomposition, draws: int = 1000, seed: int = 0) -> Draws:
    """Totals of ``draws`` sets of N samples drawn with replacement; the models stay.

    Two decompositions of one test set resampled with one seed get equal sets, so their differences are paired.

    Returns:
        ``error``, ``bias`` and ``variance``, corrected as in `Decomposition.totals`, (draws,) each.
    """
    samples = len(decomposition.error)
    values = np.stack([decomposition.error, decomposition.bias_corrected, decomposition.variance_corrected], axis=-1)
    random, even = np.random.default_rng(seed), np.full(samples, 1 / samples)
    totals = np.concatenate([random.multinomial(samples, even, size=part.stop - part.start) @ values / samples
                             for part in _blocks(draws, samples)])
    return dict(zip(QUANTITIES, totals.T, strict=True))


def resample_models(log_probabilities: Any, target: Any, draws: int = 1000, seed: int = 0) -> Draws:
    """Totals of ``draws`` sets of M models drawn with replacement; the samples stay.

    ::

        variance of a set = V / (1 − Σ_m W_m²),    W_m the share of the set that is model m

    where V is −log Z of the set's geometric mean; the denominator corrects for repeated models, (M−1)/M with equal
    shares. With few models the intervals are too narrow: of 200 sets of Gaussian models, 95 % intervals of the
    variance held the truth in 77 to 89 % (M = 5) and 83 to 89 % (M = 10). Other teachers than those of the models
    are not in them. Methods whose models have equal parts and seeds are paired by one seed.

    Args:
        log_probabilities, target: as for `decompose`.
        draws: number of sets.
        seed: of the draws.

    Returns:
        As `resample_samples`; NaN for a set of one single model.
    """
    models = check_models(log_probabilities)
    target = check_target(target, *models[0].shape)
    counts = np.random.default_rng(seed).multinomial(len(models), np.full(len(models), 1 / len(models)), size=draws)
    counts, of_draw = np.unique(counts, axis=0, return_inverse=True)
    shares = counts / len(models)
    error, found = np.zeros(len(models)), np.zeros(len(shares))
    for rows in _blocks(*models[0].shape):
        log_p = np.stack([log_softmax(np.asarray(model[rows], dtype=np.float64), axis=-1) for model in models])
        error += [_divergence(target[rows], of_model).sum() for of_model in log_p]
        found += [-float(logsumexp(np.tensordot(share, log_p, axes=1), axis=-1).sum()) for share in shares]
    left = 1 - (shares ** 2).sum(axis=-1)
    left[left < 1e-9] = np.nan
    variance = found / len(target) / left
    totals = shares @ error / len(target) + 0 * left
    return {quantity: values[of_draw.reshape(-1)] for quantity, values in
            zip(QUANTITIES, (totals, totals - variance, variance), strict=True)}


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The central part of the draws that holds ``level`` of them; NaN is skipped."""
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def check_models(log_probabilities: Any) -> list[np.ndarray]:
    """Return M arrays (N, C) as they are, memory maps too; see `decompose` for the errors."""
    models = [np.asanyarray(model) for model in log_probabilities]
    if len(models) < 2:
        raise ConfigError(f'{len(models)} model given, expected at least 2: the variance is that between models.')
    for number, model in enumerate(models):
        if model.shape != models[0].shape:
            raise ConfigError(f'model {number} has log-probabilities of shape {model.shape}, model 0 of '
                              f'{models[0].shape}: all must have seen the same samples.')
    if models[0].ndim != 2 or models[0].shape[0] < 1 or models[0].shape[1] < 2:
        raise ConfigError(f'log-probabilities have the shape {models[0].shape} per model, expected (N, C) with at '
                          'least one sample and two classes.')
    for number, model in enumerate(models):
        unusable = int((~np.isfinite(model)).any(axis=-1).sum())
        if unusable:
            raise ConfigError(f'model {number} has infinite or NaN log-probabilities for {unusable} of {len(model)} '
                              'samples: its training diverged, or log was taken after softmax.')
    return models


def check_target(target: Any, samples: int, classes: int) -> np.ndarray:
    """Return classes (N,), or probabilities (N, C) in float64; see `decompose` for the errors."""
    target = np.asarray(target)
    if target.ndim == 1 and len(target) == samples and np.issubdtype(target.dtype, np.integer):
        if target.min() < 0 or target.max() >= classes:
            raise ConfigError(f'target has classes {target.min()} … {target.max()}, expected 0 … {classes - 1}.')
        return target
    if target.shape != (samples, classes):
        raise ConfigError(f'target of shape {target.shape} and type {target.dtype}, expected classes ({samples},) '
                          f'as integers or probabilities ({samples}, {classes}).')
    target = target.astype(np.float64)
    if not (np.isfinite(target).all() and (target >= 0).all() and np.allclose(target.sum(axis=-1), 1, atol=1e-5)):
        raise ConfigError('target has rows that are no probabilities, expected numbers ≥ 0 that sum to 1.')
    return target


def _notes_on_teachers(teachers: Sequence[Any] | None, models: int) -> list[str]:
    if teachers is None:
        return []
    if len(teachers) != models:
        raise ConfigError(f'teachers has {len(teachers)} entries, expected one for each of the {models} models.')
    sizes = np.unique([list(teachers).index(teacher) for teacher in teachers], return_counts=True)[1]
    if len(sizes) == 1:
        return [f'All {models} models have one teacher: bias, variance and the intervals, over the models too, are '
                'given that teacher. The effect of another teacher counts as bias.']
    if len(sizes) == models:
        return []
    share = (1 - ((sizes / models) ** 2).sum()) * models / (models - 1)
    return [f'{models} models have {len(sizes)} teachers: the variance holds {share:.0%} of what differs between '
            'teachers, the bias the rest, and the intervals do not hold the effect of other teachers.']


def _divergence(target: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """KL(q‖p) (N,) in nats; for a label y, −log p[y]."""
    if target.ndim == 1:
        return -np.take_along_axis(log_p, target[:, None], axis=-1)[:, 0]
    return (xlogy(target, target) - target * log_p).sum(axis=-1)


def _blocks(length: int, row: int, numbers: int = 2 ** 20) -> Iterator[slice]:
    """Slices of ``length`` rows of ``row`` numbers each that hold about ``numbers`` numbers."""
    step = max(1, numbers // row)
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
