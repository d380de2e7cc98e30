"""Variants timed in turns, so that other load on the machine affects all of them alike; and reports."""
from __future__ import annotations

import gc
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import quantiles
from typing import Any

import mmengine
import mmpretrain
import mmrazor
import torch

from wsld_plugin.studies.runs import machine
from wsld_plugin.version import __version__


def order(count: int, number: int) -> list[int]:
    """The order of ``count`` variants in round ``number``: rotated in each round and reversed after ``count`` rounds.

    >>> [order(3, number) for number in (0, 1, 3)]
    [[0, 1, 2], [1, 2, 0], [2, 1, 0]]
    """
    places = [(place + number) % count for place in range(count)]
    return places if number // count % 2 == 0 else places[::-1]


def time_in_turns(variants: Mapping[str, tuple[Callable[[], Any], Callable[[Any], Any]]], rounds: int, warmup: int,
                  synchronise: Callable[[], object] = lambda: None,
                  clock: Callable[[], float] = time.perf_counter) -> dict[str, tuple[float, ...]]:
    """Time every variant once a round, without garbage collection; return seconds by name, ``rounds`` of each.

    Args:
        variants: by name, what prepares the argument of a step, which is not timed, and the step.
        rounds, warmup: timed rounds, and rounds before them that are not timed.
        synchronise: waits for the device; called before each reading of the clock.
    """
    names = list(variants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number in range(-warmup, rounds):
            for name in (names[index] for index in order(len(names), number)):
                prepare, step = variants[name]
                argument = prepare()
                synchronise()
                begin = clock()
                step(argument)
                synchronise()
                if number >= 0:
                    seconds[name].append(clock() - begin)
    finally:
        if collects:
            gc.enable()
    return {name: tuple(taken) for name, taken in seconds.items()}


def paired_ratio(seconds: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of seconds / other seconds of the same round, interpolated linearly.

    >>> paired_ratio([2., 3., 4.], [1., 1., 1.])
    (2.5, 3.0, 3.5)
    """
    lower, middle, upper = quantiles([own / other for own, other in zip(seconds, others, strict=True)], n=4,
                                     method='inclusive')
    return lower, middle, upper


def header(**settings: Any) -> dict[str, Any]:
    """Date, machine, threads, load average (before the measurement), versions and command; and ``settings``."""
    here = os.path.relpath(sys.argv[0])
    tool = sys.argv[0] if here.startswith('..') else Path(here).as_posix()
    return dict(date=date.today().isoformat(), machine=machine(), threads=torch.get_num_threads(),
                load=round(os.getloadavg()[0], 1),
                versions=dict(mmengine=mmengine.__version__, mmpretrain=mmpretrain.__version__,
                              mmrazor=mmrazor.__version__, wsld_plugin=__version__),
                command=shlex.join(['python', tool, *sys.argv[1:]]), **settings)


def head_lines(report: Mapping[str, Any]) -> list[str]:
    """:func:`header` as text."""
    versions = ', '.join(f'{name} {version}' for name, version in report['versions'].items())
    threads = f'{report["threads"]} thread' + 's' * (report['threads'] != 1)
    return [f'{report["date"]}, {report["machine"]}, {threads}, load average {report["load"]} before it; {versions}.',
            f'`{report["command"]}`']
