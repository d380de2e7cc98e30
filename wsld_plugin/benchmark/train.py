"""A short run through the Runner: how much of an iteration is not the step."""
from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from wsld_plugin.engine.training import train, training_config
from wsld_plugin.studies.table import aligned_table

from .timing import head_lines, header, order, paired_ratio

Part = tuple[float, float, float]  # iteration, loading, step; seconds


class _EnoughError(Exception):
    """Ends a run in the middle of an epoch."""


class StepClock(Hook):
    """Times every iteration and its step in ``parts``, and ends the run after ``iterations``; waits for the device.

    An iteration lasts from the end of the one before to its own end; loading lasts until the batch is there; the
    rest beside the step is hooks, logging and the loop.
    """

    priority = 'VERY_LOW'

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations
        self.parts: list[Part] = []

    def before_train(self, runner: Runner) -> None:
        """Wrap the step; the first iteration begins."""
        model: Any = runner.model
        inner = model.train_step

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = _now()
            outputs = inner(*args, **kwargs)
            self._step = _now() - begin
            return outputs
        model.train_step = timed
        self._begin = _now()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """End the iteration, after all other hooks; mmengine's timer knows the time of loading."""
        now, loading = _now(), float(runner.message_hub.get_scalar('train/data_time').current())
        self.parts.append((now - self._begin, loading, self._step))
        self._begin = now
        if len(self.parts) == self.iterations:
            raise _EnoughError


def time_runs(paths: Sequence[str], *, pairs: int, warmup: int = 10, iterations: int = 60,
              options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Train each config for a few iterations, in turns, and time the parts of an iteration.

    Args:
        paths: of training configs, with their data and teachers. A config that is named twice is two variants.
        pairs: runs of each, ≥ 2.
        warmup, iterations: iterations at the start of each run that are not counted, and those that are.
        options: dotted keys and values that replace those of every config.

    Returns:
        The report, for :func:`train_markdown` and JSON. Of each config: medians over all its iterations, in seconds;
        ``share_outside``, the time of hooks, logging and the loop by that of the steps; ``ratio``, quartiles over the
        rounds of its mean iteration without loading by that of the first config.
    """
    head = header(benchmark='train', pairs=pairs, warmup=warmup, iterations=iterations)
    runs: list[list[list[Part]]] = [[] for _ in paths]
    for number in range(pairs):
        for place in order(len(paths), number):
            runs[place].append(short_run(paths[place], warmup + iterations, options)[warmup:])
    means = [[fmean(whole - load for whole, load, _ in parts) for parts in of_config] for of_config in runs]
    rows = []
    for path, of_config, mean in zip(paths, runs, means, strict=True):
        iteration, loading, step = zip(*chain(*of_config), strict=True)
        rest = [whole - load - own for whole, load, own in zip(iteration, loading, step, strict=True)]
        rows.append(dict(
            name=Path(path).stem, iteration=median(iteration), step=median(step), loading=median(loading),
            rest=median(rest), share_outside=sum(rest) / sum(step), ratio=paired_ratio(mean, means[0])))
    return dict(head, rows=rows)


def train_markdown(report: Mapping[str, Any]) -> str:
    """The report of :func:`time_runs` as text."""
    cells = [['', 'iteration, ms', 'step, ms', 'loading, ms', 'hooks and loop, ms', 'share outside the step, %',
              'ratio to the first', 'quartiles']]
    for row in report['rows']:
        times = [f'{1000 * row[part]:.2f}' for part in ('iteration', 'step', 'loading', 'rest')]
        lower, middle, upper = row['ratio']
        cells.append([row['name'], *times, f'{100 * row["share_outside"]:.1f}', f'{middle:.3f}',
                      f'{lower:.3f} … {upper:.3f}'])
    return '\n'.join([
        *head_lines(report),
        f'{report["pairs"]} runs of each through the Runner, {report["iterations"]} iterations after '
        f'{report["warmup"]} to warm up.', '', aligned_table(cells), '',
        'Medians over iterations. The share is hooks, logging and the loop by the steps, in sum, without loading and '
        'checkpoints. The ratio is that of mean iterations without loading, within a round.'])


def short_run(path: str, iterations: int, options: Mapping[str, Any] | None = None) -> list[Part]:
    """The parts of the first iterations of a run, whose files are removed; see :class:`StepClock`."""
    with TemporaryDirectory() as folder:
        cfg = training_config(path, work_dir=folder, validate=False, options=dict(options or {}))
        cfg.default_hooks.checkpoint.interval = cfg.train_cfg.max_epochs = 10**9
        cfg.experiment_name = f'benchmark_{time.time_ns()}'  # mmengine keeps one logger for every name
        clock = StepClock(iterations)
        with suppress(_EnoughError):
            train(cfg, clock)
        return clock.parts


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
