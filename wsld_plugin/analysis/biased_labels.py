"""What is found of soft labels that mislead."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .biased_companions import Companion

_ROUNDING = 1e-9  # all C classes have the margin 0, computed from sums


@dataclass(frozen=True)
class BiasedLabels:
    """Δ_k, γ_k and θ_k for k = 1 … K, each an array (K,) that begins with k = 1.

    Attributes:
        unreliability: Δ_k.
        ambiguity: γ_k.
        ambiguous_class: the class that γ_k belongs to; the first of equals.
        margin: θ_k in nats, at most log 2; see :func:`wsld_plugin.analysis.biased_margin.learnability_margin`.
        unreliability_by_class: (C, K), Pr(y ∉ Ω_k | y = c); NaN for a class without samples.
        companions: for each k the pair of the largest share, the first of equals; empty above 100 classes.
        intervals: ``unreliability``, ``ambiguity`` and ``margin``: lower and upper ends, (2, K), of bootstrap
            intervals; empty where none was asked for.
        num_samples: N.
    """

    unreliability: np.ndarray
    ambiguity: np.ndarray
    ambiguous_class: np.ndarray
    margin: np.ndarray
    unreliability_by_class: np.ndarray
    companions: list[Companion]
    intervals: dict[str, np.ndarray]
    num_samples: int

    @property
    def best_k(self) -> int | None:
        """The k of the largest margin, the smallest of equals; None where no margin is above 0 (and rounding)."""
        return int(self.margin.argmax()) + 1 if self.margin.max() > _ROUNDING else None
