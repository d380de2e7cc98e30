"""Tables and pictures of results over seeds."""
from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev

import torch

from .runs import Result


@dataclass(frozen=True)
class Row:
    """A method's accuracy over its seeds: top-1 of the last epoch, in percent.

    ``accuracy_std`` is the sample standard deviation (n − 1), None for a single run.
    """

    method: str
    accuracy_mean: float
    accuracy_std: float | None
    n: int
    seconds_mean: float
    accuracies: list[float]


def summarise(results: Sequence[Result]) -> list[Row]:
    """One row a method, in the order in which the methods first appear."""
    rows = []
    for method in dict.fromkeys(result.method for result in results):
        of_method = [result for result in results if result.method == method]
        accuracies = [result.last_accuracy for result in of_method]
        rows.append(Row(method, mean(accuracies), stdev(accuracies) if len(accuracies) > 1 else None,
                        len(accuracies), mean(result.seconds for result in of_method), accuracies))
    return rows


def markdown_table(rows: Sequence[Row]) -> str:
    """The rows as an aligned Markdown table."""
    cells = [('method', 'accuracy, %', 'n', 'time a run, s')]
    for row in rows:
        spread = '' if row.accuracy_std is None else f' ± {row.accuracy_std:.2f}'
        cells.append((row.method, f'{row.accuracy_mean:.2f}{spread}', str(row.n), f'{row.seconds_mean:.0f}'))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + ' |'
             for line in cells]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(lines)


def as_json(rows: Sequence[Row]) -> list[dict]:
    """The rows as plain data."""
    return [asdict(row) for row in rows]


def machine() -> str:
    """The hardware and versions that results were made with, in a line."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu_name()
    return f'{device}, Python {platform.python_version()}, torch {torch.__version__}'


def _cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    names = [line.partition(':')[2].strip() for line in info.read_text().splitlines()
             if line.startswith('model name')] if info.is_file() else []
    return f'{len(names)} × {names[0]}' if names else platform.processor() or platform.machine()
