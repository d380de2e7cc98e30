"""A short run through the Runner: where the time of an iteration goes."""
from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from wsld_plugin.config.data import check_data, check_teacher
from wsld_plugin.engine.training import training_config
from wsld_plugin.engine.workers import end_workers
from wsld_plugin.studies.table import aligned_table

from .configs import names_of
from .report import header, machine_line
from .timing import Comparison, compare, order

Part = tuple[float, float, float]  # iteration, loading, step; seconds


class _EnoughError(Exception):
    """Ends a run in the middle of an epoch."""


class StepClock(Hook):
    """Times every iteration, and the step in it; waits for the device before each reading.

    ``parts`` is a list of (iteration, loading, step) in seconds: an iteration lasts from the end of the one before to
    its own; loading from there until the batch is there; the rest is hooks, logging and the loop.

    Args:
        iterations: after which the run ends.
    """

    priority = 'VERY_LOW'

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations
        self.parts: list[Part] = []
        self._begin = self._loaded = self._step = 0.0

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

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Other hooks of this moment ran before: their time is told apart from loading by the timer's."""
        self._loaded = runner.message_hub.get_scalar('train/data_time').current()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        """The iteration ends when every hook has had its turn."""
        now = _now()
        self.parts.append((now - self._begin, float(self._loaded), self._step))
        self._begin = now
        if len(self.parts) == self.iterations:
            raise _EnoughError


def time_runs(paths: Sequence[str], *, pairs: int, warmup: int = 10, iterations: int = 60,
              options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Train each config for a few iterations, in turns, and tell where the time of an iteration goes.

    Args:
        paths: of training configs, with their data and teachers.
        pairs: how often each is run.
        warmup: iterations of each run that do not count.
        iterations: of each run that do.
        options: what replaces settings of every config; dotted keys.

    Returns:
        The report: for each config medians over all its iterations, in seconds, ``share_outside``, the time of
        hooks, logging and the loop beside that of the steps, of all iterations together, and ``ratio``: quartiles
        over the rounds of its mean iteration, without loading, to that of the first config.

    Raises:
        ConfigError: what ``tools/train.py`` refuses.
    """
    head = header(benchmark='train', pairs=pairs, warmup=warmup, iterations=iterations)
    names = names_of(paths)
    runs: dict[str, list[list[Part]]] = {name: [] for name in names}
    for number in range(pairs):
        for place in order(len(paths), number):
            runs[names[place]].append(short_run(paths[place], warmup + iterations, options)[warmup:])
    compared = compare({name: [_mean(parts) for parts in of_config] for name, of_config in runs.items()})
    return dict(head, rows=[_row(row, list(chain(*runs[row.name]))) for row in compared])


def train_markdown(report: Mapping[str, Any]) -> str:
    """What :func:`time_runs` returns as text."""
    cells = [['', 'iteration, ms', 'step, ms', 'loading, ms', 'hooks and loop, ms', 'share outside the step, %',
              'ratio to the first', 'quartiles']]
    for row in report['rows']:
        times = [f'{1000 * row[part]:.2f}' for part in ('iteration', 'step', 'loading', 'rest')]
        lower, middle, upper = row['ratio']
        cells.append([row['name'], *times, f'{100 * row["share_outside"]:.1f}', f'{middle:.3f}',
                      f'{lower:.3f} … {upper:.3f}'])
    return '\n'.join([machine_line(report),
                      f'{report["pairs"]} runs of each through the Runner, {report["iterations"]} iterations after '
                      f'{report["warmup"]} to warm up.', f'`{report["command"]}`', '', aligned_table(cells), '',
                      'Medians over iterations. The share is that of sums: hooks, logging and the loop beside the '
                      'step; loading and checkpoints do not count. The ratio is that of mean iterations without '
                      'loading, within a round.'])


def short_run(path: str, iterations: int, options: Mapping[str, Any] | None,
              hooks: Sequence[Hook] = ()) -> list[Part]:
    """The parts of so many iterations of a config, in a run that nothing is left of; see :class:`StepClock`.

    Args:
        path: of the config.
        iterations: after which it ends.
        options: what replaces settings of the config.
        hooks: beside its own.
    """
    with TemporaryDirectory() as folder:
        cfg = training_config(path, work_dir=folder, validate=False, options=dict(options or {}))
        cfg.default_hooks.checkpoint.interval = cfg.train_cfg.max_epochs = 10**9
        cfg.experiment_name = f'benchmark_{time.time_ns()}'  # mmengine keeps one logger for every name
        check_data(cfg)
        check_teacher(cfg)
        runner = RUNNERS.build(cfg)
        clock = StepClock(iterations)
        for hook in (*hooks, clock):
            runner.register_hook(hook)
        try:
            runner.train()
        except _EnoughError:
            pass
        finally:
            end_workers(runner)
        return clock.parts


def _mean(parts: Sequence[Part]) -> float:
    return fmean(iteration - loading for iteration, loading, _ in parts)


def _row(compared: Comparison, parts: Sequence[Part]) -> dict[str, Any]:
    rest = [iteration - loading - step for iteration, loading, step in parts]
    return dict(name=compared.name, iteration=median(whole for whole, *_ in parts), ratio=compared.ratio,
                step=median(step for *_, step in parts), loading=median(loading for _, loading, _ in parts),
                rest=median(rest), share_outside=sum(rest) / sum(step for *_, step in parts))


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
