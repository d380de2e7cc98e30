"""What `SoftLabelMonitorHook` costs: blocks of iterations with it and without it, in one run."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from mmengine.runner import Runner

from wsld_plugin.hooks import SoftLabelMonitorHook
from wsld_plugin.studies.table import aligned_table

from .report import header, machine_line
from .timing import compare
from .train import Part, short_run


class InBlocks(SoftLabelMonitorHook):
    """Looks at the iterations of every other block, in the order with, without, without, with.

    Args:
        block: iterations in each, and between two readings.
    """

    def __init__(self, block: int) -> None:
        super().__init__(interval=block)
        self.block = block

    def is_turn(self, runner: Runner) -> bool:
        """Whether this iteration is one with the monitor."""
        return is_with(runner.iter // self.block)


def is_with(block: int) -> bool:
    """Whether a block, counted from 0, is one with the monitor."""
    return block % 4 in (0, 3)


def time_monitor(path: str, *, pairs: int, warmup: int = 5, block: int = 20,
                 options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Train a config for a while, and compare neighbouring blocks of iterations.

    What remains in blocks without it, a call of the hook that returns at once, counts as none.

    Args:
        path: of a distillation's config, with its data.
        pairs: of blocks.
        warmup: pairs before them that do not count.
        block: iterations in each.
        options: what replaces settings of the config; dotted keys.

    Returns:
        The report: ``rows`` without and with, each a mean iteration without loading, in seconds, one a pair, its
        ``median`` and the quartiles of the ``ratio`` to that without.

    Raises:
        ConfigError: what ``tools/train.py`` refuses, or a model that the hook refuses.
    """
    head = header(benchmark='monitor', config=path, pairs=pairs, warmup=warmup, block=block)
    parts = short_run(path, 2 * (warmup + pairs) * block, options, [InBlocks(block)])
    compared = compare(block_means(parts, block, warmup))
    return dict(head, rows=[dict(name=row.name, seconds=row.seconds, median=row.median, ratio=row.ratio)
                            for row in compared])


def block_means(parts: Sequence[Part], block: int, warmup: int) -> dict[str, list[float]]:
    """Mean iterations without loading, of the blocks of either kind; the first ``warmup`` pairs are left out."""
    means: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * warmup, len(parts) // block):
        own = parts[number * block:(number + 1) * block]
        means[is_with(number)].append(fmean(iteration - loading for iteration, loading, _ in own))
    return {'without': means[False], 'with the monitor': means[True]}


def monitor_markdown(report: Mapping[str, Any]) -> str:
    """What :func:`time_monitor` returns as text."""
    cells = [[Path(report['config']).stem, 'iteration without loading, ms', 'ratio', 'quartiles']]
    for row in report['rows']:
        lower, middle, upper = row['ratio']
        cells.append([row['name'], f'{1000 * median(row["seconds"]):.2f}', f'{middle:.3f}',
                      f'{lower:.3f} … {upper:.3f}'])
    return '\n'.join([machine_line(report),
                      f'{report["pairs"]} pairs of blocks of {report["block"]} iterations in one run, after '
                      f'{report["warmup"]} pairs to warm up.', f'`{report["command"]}`', '', aligned_table(cells), '',
                      'Medians over the pairs.'])
