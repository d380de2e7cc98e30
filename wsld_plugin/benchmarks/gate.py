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


def check_agrees(name: str, wanted: Mapping[str, float], found: Mapping[str, float], tolerance: float) -> None:
    """Refuse a variant whose losses are not the reference's.

    Args:
        name: of the variant.
        wanted: the reference's losses by their names; those whose name has ``loss`` in it count.
        found: the variant's.
        tolerance: relative.

    Raises:
        RefusedVariant: naming the variant and the loss.
    """
    for key, value in wanted.items():
        if 'loss' in key and not math.isclose(value, found.get(key, math.nan), rel_tol=tolerance):
            raise RefusedVariant(f'{name} is not timed: {key} of its first step is {found.get(key)}, and the '
                                 f"reference's {value}; expected the same to {tolerance:g} of it.")
