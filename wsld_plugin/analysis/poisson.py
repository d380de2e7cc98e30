"""A bootstrap over samples that are not kept."""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def poisson_weights(keys: Iterable[int], replicates: int, seed: int = 0) -> np.ndarray:
    """How often each sample counts in each replicate of a bootstrap: (N, replicates) Poisson(1) numbers, float64.

    They depend on the seed and the sample's key alone, not on its batch.
    """
    mask = 2**64 - 1
    rows = [np.random.Generator(np.random.Philox(key=np.array([seed & mask, key & mask], dtype=np.uint64))).poisson(
        1.0, replicates) for key in keys]
    return np.array(rows, dtype=np.float64).reshape(-1, replicates)
