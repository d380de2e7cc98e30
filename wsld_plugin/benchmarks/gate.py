"""What a variant must do right before its speed means anything."""
from __future__ import annotations

import math
from collections.abc import Mapping

from wsld_plugin.errors import RunError

TOLERANCE = 1e-5


class RefusedVariant(RunError):
    """A variant is not timed, because what it computes cannot be trusted."""


def check_repeats(name: str, first: Mapping[str, float], again: Mapping[str, float]) -> None:
    """Refuse a variant whose results are not finite, or differ when the same is computed twice.

    Args:
        name: of the variant.
        first: its results, losses for example, by their names; at least one.
        again: the same, computed again from the same state.

    Raises:
        RefusedVariant: naming the variant and the result. Equal means: within 1e-5 of the larger.
    """
    if not first:
        raise RefusedVariant(f'{name} is not timed: its step returns nothing that could be compared.')
    for key, value in first.items():
        if not math.isfinite(value):
            raise RefusedVariant(f'{name} is not timed: in its first step {key} is {value}. Train it for a few '
                                 'iterations first: tools/train.py stops where a loss is not finite, and says why.')
        second = again.get(key, math.nan)
        if not math.isclose(value, second, rel_tol=TOLERANCE):
            raise RefusedVariant(f'{name} is not timed: {key} of the same step from the same weights, seed and '
                                 f'batch is {value} and then {second}. Something in it depends on what ran before.')
