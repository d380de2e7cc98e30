"""Random numbers for a whole batch at once: a hash of each sample's key and of what the number is for."""
from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import blake2b

import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def key_states(keys: Sequence[Sequence[int]] | np.ndarray) -> np.ndarray:
    """One 64-bit state for each key.

    ::

        state = 0;    state = mix((state xor word) + γ) for each word of the key

    ``mix`` is the finaliser of splitmix64 and γ its increment (Steele, Lea and Flood, Fast Splittable Pseudorandom
    Number Generators, OOPSLA 2014). The arithmetic is on 64-bit integers, so that the result is the same everywhere.

    Args:
        keys: N keys of as many integers each, between -2⁶³ and 2⁶³ - 1.

    Returns:
        (N,) uint64.
    """
    words = np.ascontiguousarray(keys, dtype=np.int64).view(np.uint64)
    states = np.zeros(len(words), dtype=np.uint64)
    for word in words.T:
        states = _mix((states ^ word) + _GAMMA)
    return states


def random_bits(states: np.ndarray, purpose: str) -> np.ndarray:
    """32 random bits for each state, as (N,) uint64; other bits for another purpose."""
    return _mix(states ^ _stream(purpose)) >> _HALF


def random_below(states: np.ndarray, purpose: str, limit: int) -> np.ndarray:
    """A number of 0 … limit - 1 for each state, (N,) int64; each is as likely as the others to limit · 2⁻³².

    Args:
        states: (N,), from :func:`key_states`.
        purpose: what the number is for.
        limit: 1 … 2³¹.

    >>> random_below(key_states([(0, 0, 5, 0)]), 'crop', 1)
    array([0])
    """
    return (random_bits(states, purpose) * np.uint64(limit) >> _HALF).astype(np.int64)


@cache
def _stream(purpose: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(purpose.encode(), digest_size=8).digest(), 'little'))


def _mix(words: np.ndarray) -> np.ndarray:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
