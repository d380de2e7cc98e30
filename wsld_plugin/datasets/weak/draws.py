"""What is drawn for a sample's weak label: a hash of the seed and the sample's place, the same on every machine."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wsld_plugin.datasets.resident_random import key_states, random_below, random_bits


def candidate_sets(labels: np.ndarray, num_classes: int, unreliability: float, ambiguity: float,
                   seed: int) -> np.ndarray:
    """Sets of classes that may be the label.

    The label y is in the set with probability 1 - Δ, each wrong class with probability γ, all independently. A set
    that would be empty holds one wrong class, drawn uniformly, so that Δ stays what it is and γ becomes
    γ + Δ (1 - γ)^(C-1) / (C - 1).

    Args:
        labels: (N,) integers of 0 … C - 1.
        num_classes: C ≥ 2.
        unreliability: Δ, 0 … 1.
        ambiguity: γ, 0 … 1.
        seed: another seed draws other sets. The set of sample i depends on (seed, i, label of i) alone.

    Returns:
        (N, C) bool.
    """
    states = _states(seed, len(labels))
    own = np.eye(num_classes, dtype=bool)[labels]
    uniforms = _uniforms(states, 'candidate', num_classes)
    sets = np.where(own, uniforms >= unreliability, uniforms < ambiguity)
    empty = ~sets.any(1)
    sets[empty, _another_class(states, labels, num_classes)[empty]] = True
    return sets


def noisy_labels(labels: np.ndarray, num_classes: int, rate: float, pairs: Mapping[int, int] | None,
                 seed: int) -> np.ndarray:
    """Labels of which each is exchanged with probability ``rate``.

    Args:
        labels: (N,) integers of 0 … C - 1.
        num_classes: C ≥ 2.
        rate: 0 … 1.
        pairs: the class that takes the place of each; classes that are not in it keep their labels. None: one of the
            other C - 1 classes, uniformly.
        seed: another seed draws other noise. The label of sample i depends on (seed, i, label of i) alone.

    Returns:
        (N,) int64.
    """
    states = _states(seed, len(labels))
    other = (_another_class(states, labels, num_classes) if pairs is None
             else np.array([pairs.get(label, label) for label in range(num_classes)])[labels])
    return np.where(_uniforms(states, 'noise', 1)[:, 0] < rate, other, labels).astype(np.int64)


def companions(labels: np.ndarray, num_classes: int, count: int, seed: int) -> np.ndarray:
    """For each sample ``count`` different wrong classes, every choice as likely as any other; (N, C) bool."""
    uniforms = _uniforms(_states(seed, len(labels)), 'companion', num_classes)
    uniforms[np.arange(len(labels)), labels] = np.inf
    sets = np.zeros(uniforms.shape, dtype=bool)
    np.put_along_axis(sets, np.argsort(uniforms, 1, kind='stable')[:, :count], True, 1)
    return sets


def measure(sets: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """What sets of classes came to: Δ = Pr(y ∉ S) and γ = max_c Pr(c ∈ S | y ≠ c).

    As `BiasedLabelStatistics` defines them, with sets of any size in the place of the k largest classes.

    Args:
        sets: S (N, C) bool.
        labels: y (N,), of at least two classes.

    >>> measure(np.array([[True, True], [False, True]]), np.array([0, 1]))
    (0.0, 1.0)
    """
    missing = ~sets[np.arange(len(labels)), labels]
    return float(missing.mean()), max(float(column[labels != c].mean()) for c, column in enumerate(sets.T))


def shuffled(labels: np.ndarray, seed: int) -> np.ndarray:
    """The places of all samples, one of each class in turn as long as there are any, drawn within a class."""
    draws = _uniforms(_states(seed, len(labels)), 'order', 1)[:, 0]
    order = np.lexsort((draws, labels))
    rank = np.empty(len(labels), dtype=np.int64)
    starts = np.searchsorted(labels[order], labels[order])
    rank[order] = np.arange(len(labels)) - starts
    return np.lexsort((labels, rank))


def _states(seed: int, count: int) -> np.ndarray:
    return key_states(np.stack([np.full(count, seed), np.arange(count)], 1))


def _uniforms(states: np.ndarray, purpose: str, columns: int) -> np.ndarray:
    """(N, columns) of [0, 1)."""
    return np.stack([random_bits(states, f'{purpose} {column}') for column in range(columns)], 1) / 2.0**32


def _another_class(states: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    other = random_below(states, 'another class', num_classes - 1)
    return other + (other >= labels)
