"""How clearly right classes can be found in soft labels that mislead."""
from __future__ import annotations

import numpy as np


def learnability_margin(unreliability: np.ndarray, ambiguity: np.ndarray) -> np.ndarray:
    """How clearly a learner can find the right classes in such soft labels.

    ::

        θ = log(2(1 - Δ)/(1 - Δ + γ))     > 0 exactly where Δ + γ < 1

    Args:
        unreliability: Δ, 0 … 1.
        ambiguity: γ, 0 … 1, of the same shape.

    Returns:
        θ in nats, at most log 2; -inf where Δ = 1.

    Source: Yuan et al., NeurIPS 2023, arXiv 2302.08155: θ > 0 is a sufficient condition, under further ones, for a
    learner that sees nothing but these labels to find the right classes with enough samples. It is not necessary, and
    says nothing about how many are enough, or whether soft labels are better than hard ones.

    >>> learnability_margin(np.array([0.0, 0.5]), np.array([0.0, 0.5])).round(4)
    array([0.6931, 0.    ])
    """
    reliability = 1 - np.asarray(unreliability, dtype=np.float64)
    with np.errstate(divide='ignore', invalid='ignore'):
        ratio = np.where(reliability > 0, np.asarray(ambiguity) / reliability, np.inf)
    return np.log(2) - np.log1p(ratio)
