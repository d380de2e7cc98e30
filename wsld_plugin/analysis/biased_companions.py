"""Which wrong class comes with which right one among the largest soft labels."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

PAIRED_CLASSES = 100  # up to which pairs of classes are counted: C²·K numbers, 8 MB


class Companion(NamedTuple):
    """A wrong class that is among the k largest together with a right one.

    Attributes:
        label: the right class b.
        wrong: the wrong one c.
        share: of the samples of b that have c among the k largest, Pr(c ∈ Ω_k | y = b).
    """

    label: int
    wrong: int
    share: float


def companions(members: np.ndarray, count: np.ndarray) -> list[Companion]:
    """The pair of the largest Pr(c ∈ Ω_k | y = b), c ≠ b, for each k; the first of equals.

    Args:
        members: (C·C, K), of each b and, within it, c: the number of samples of b with c ∈ Ω_k.
        count: (C,), the samples of each b; those with none are left out.
    """
    classes = len(count)
    shares = np.clip(members.reshape(classes, classes, -1) / np.maximum(count, 1)[:, None, None], 0, 1)
    shares[range(classes), range(classes)] = -1  # the right class itself
    shares[count == 0] = -1
    flat = shares.reshape(classes * classes, -1)
    return [Companion(*divmod(int(place), classes), float(flat[place, k])) for k, place in enumerate(flat.argmax(0))]
