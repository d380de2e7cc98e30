"""Variants of the same work timed in turns, so that whatever else the machine does falls on all alike."""
from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Variant:
    """Something to time.

    Args:
        name: in the report; unique.
        step: what is timed; called with what ``prepare`` returned.
        prepare: makes the argument of one step; not timed.
    """

    name: str
    step: Callable[[Any], Any]
    prepare: Callable[[], Any] = _nothing


@dataclass(frozen=True)
class Comparison:
    """One variant beside the first.

    Args:
        name: of the variant.
        seconds: one a round.
        median: of ``seconds``.
        ratio: lower quartile, median and upper quartile over the rounds of (its seconds / the first's seconds in
            the same round), dimensionless: above 1 is slower than the first.
    """

    name: str
    seconds: tuple[float, ...]
    median: float
    ratio: tuple[float, float, float]


def order(count: int, number: int) -> list[int]:
    """The order of ``count`` variants in round ``number``: rotated by one from round to round.

    Within ``count`` rounds each variant takes each place once. After as many the order is reversed, so that no
    variant always follows the same one.

    >>> [order(3, number) for number in (0, 1, 3)]
    [[0, 1, 2], [1, 2, 0], [2, 1, 0]]
    """
    places = [(place + number) % count for place in range(count)]
    return places if number // count % 2 == 0 else places[::-1]


def time_in_turns(variants: Sequence[Variant], rounds: int, warmup: int = 0,
                  synchronise: Callable[[], object] = _nothing,
                  clock: Callable[[], float] = time.perf_counter) -> dict[str, tuple[float, ...]]:
    """Time every variant once a round, without garbage collection.

    Args:
        variants: at least one.
        rounds: that count.
        warmup: rounds before them that do not.
        synchronise: waits until the device has done what it was told; called before each reading of the clock.
        clock: in seconds.

    Returns:
        Seconds by the variants' names, ``rounds`` of each.
    """
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number in range(-warmup, rounds):
            for index in order(len(variants), number):
                taken = _seconds(variants[index], synchronise, clock)
                if number >= 0:
                    seconds[variants[index].name].append(taken)
    finally:
        if collects:
            gc.enable()
    return {name: tuple(taken) for name, taken in seconds.items()}


def compare(seconds: Mapping[str, Sequence[float]]) -> list[Comparison]:
    """Each variant beside the first; quartiles are interpolated linearly.

    Args:
        seconds: by name, of at least two rounds, the same for all; see :func:`time_in_turns`.
    """
    first = next(iter(seconds.values()))
    found = []
    for name, taken in seconds.items():
        lower, middle, upper = quantiles([own / base for own, base in zip(taken, first, strict=True)], n=4,
                                         method='inclusive')
        found.append(Comparison(name, tuple(taken), median(taken), (lower, middle, upper)))
    return found


def _seconds(variant: Variant, synchronise: Callable[[], object], clock: Callable[[], float]) -> float:
    argument = variant.prepare()
    synchronise()
    begin = clock()
    variant.step(argument)
    synchronise()
    return clock() - begin
