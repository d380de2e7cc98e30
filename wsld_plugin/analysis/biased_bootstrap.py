"""How sure the measures of misleading soft labels are: a bootstrap over samples that are not kept."""
from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from .poisson import poisson_weights

_REFLECTED = dict(ambiguity=(0.0, 1.0), margin=(-np.inf, float(np.log(2))))  # and the range that they have


def sample_weights(keys: Iterable[int] | None, n: int, replicates: int, seed: int) -> Tensor:
    """How often each sample counts: once, then in each replicate of the bootstrap; (N, 1 + replicates), float64.

    Args:
        keys: N different whole numbers that name the samples; not looked at without replicates.
        n: N.
        replicates: how many; 0: none.
        seed: of the draw.

    Raises:
        ValueError: no keys, or not N.
    """
    weights = torch.ones(n, 1 + replicates, dtype=torch.float64)
    if replicates:
        keys = None if keys is None else [int(key) for key in keys]
        if keys is None or len(keys) != n:
            raise ValueError(f'The bootstrap needs a key for each of the {n} samples, such as its place in the '
                             f'data set, but was given {"none" if keys is None else len(keys)}.')
        weights[:, 1:] = torch.from_numpy(poisson_weights(keys, replicates, seed))
    return weights


def bootstrap_intervals(values: Mapping[str, np.ndarray], level: float) -> dict[str, np.ndarray]:
    """Lower and upper ends, (2, K), of each measure: the percentiles of its replicates.

    γ_k (``ambiguity``) is a maximum over classes, which chance makes larger, and resampling once more by as much: its
    percentiles and those of the ``margin`` are reflected about the estimate, which takes this back.

    Args:
        values: (K, 1 + replicates) by name: the estimate, then those of one replicate or more.
        level: between 0 and 1.
    """
    found = {}
    for name, value in values.items():
        ends = np.quantile(value[:, 1:], [(1 - level) / 2, (1 + level) / 2], axis=1, method='inverted_cdf')
        found[name] = _reflected(ends, value[:, 0]).clip(*_REFLECTED[name]) if name in _REFLECTED else ends
    return found


def _reflected(ends: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """The basic bootstrap's interval from the percentiles; that of an estimate of -inf is a point."""
    finite = np.where(np.isfinite(estimate), estimate, 0)
    return np.where(np.isfinite(estimate), 2 * finite - ends[::-1], estimate)
