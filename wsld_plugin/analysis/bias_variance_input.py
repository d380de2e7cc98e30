"""What bias and variance are computed from, checked."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax, xlogy

from wsld_plugin.errors import ConfigError


def check_models(log_probabilities: Any) -> list[np.ndarray]:
    """M arrays (N, C) as they are, memory maps too; see `decompose` for the errors."""
    models = [np.asanyarray(model) for model in log_probabilities]
    if len(models) < 2:
        raise ConfigError(f'{len(models)} model given: the variance is that between models, and takes at least 2.')
    for number, model in enumerate(models):
        if model.shape != models[0].shape:
            raise ConfigError(f'model {number} has log-probabilities of shape {model.shape}, model 0 of '
                              f'{models[0].shape}: all must have seen the same samples.')
    if models[0].ndim != 2 or models[0].shape[0] < 1 or models[0].shape[1] < 2:
        raise ConfigError(f'log-probabilities have the shape {models[0].shape} a model, expected (N, C) with at '
                          'least one sample and two classes.')
    for number, model in enumerate(models):
        unusable = int((~np.isfinite(model)).any(axis=-1).sum())
        if unusable:
            raise ConfigError(f'model {number} has infinite or NaN log-probabilities for {unusable} of {len(model)} '
                              'samples: its training diverged, or log was taken after softmax.')
    return models


def check_target(target: Any, samples: int, classes: int) -> np.ndarray:
    """Classes (N,), or probabilities (N, C) in float64; see `decompose` for the errors."""
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
        raise ConfigError('target holds rows that are no probabilities: expected numbers ≥ 0 that sum to 1.')
    return target


def by_teacher(teachers: Sequence[Any] | None, models: int) -> list[list[int]]:
    """The models of each teacher; each alone where there is no teacher.

    Raises:
        ConfigError: not one teacher a model.
    """
    teachers = list(range(models)) if teachers is None else list(teachers)
    if len(teachers) != models:
        raise ConfigError(f'teachers names those of {len(teachers)} models, but {models} models are given.')
    return [[model for model, own in enumerate(teachers) if own == teacher] for teacher in dict.fromkeys(teachers)]


def log_probabilities_of(model: np.ndarray) -> np.ndarray:
    """Log-softmax in float64."""
    return log_softmax(np.asarray(model, dtype=np.float64), axis=-1)


def divergence(target: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """KL(q‖p) (N,) in nats; for a label y it is −log p[y]."""
    if target.ndim == 1:
        return -np.take_along_axis(log_p, target[:, None], axis=-1)[:, 0]
    return (xlogy(target, target) - target * log_p).sum(axis=-1)


def blocks(length: int, row: int, numbers: int = 2 ** 20) -> Iterator[slice]:
    """Slices of ``length`` rows of ``row`` numbers each that hold about ``numbers`` numbers."""
    step = max(1, numbers // row)
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
