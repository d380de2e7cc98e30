"""Pictures of results over seeds."""
from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from wsld_plugin.engine.atomic import write_atomically

from .report import Row
from .runs import Result

matplotlib.use('Agg')
from matplotlib import pyplot


def plot_comparison(path: str | Path, rows: Sequence[Row], results: Sequence[Result], title: str,
                    reference: str | None = None) -> None:
    """Draw methods side by side: every seed's accuracy with mean and spread, and the curves of training.

    Args:
        path: the PNG to write.
        rows: the methods.
        results: the runs behind them.
        title: a line above the picture.
        reference: a method drawn as a horizontal line instead of a column, such as the teacher.
    """
    columns = [row for row in rows if row.method != reference]
    line = next((row for row in rows if row.method == reference), None)
    colours = {row.method: f'C{index}' for index, row in enumerate(columns)}
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.8), layout='constrained')
    figure.suptitle(title)

    for position, row in enumerate(columns):
        offsets = np.linspace(-.12, .12, row.n) if row.n > 1 else [0]
        left.plot(position + np.asarray(offsets), row.accuracies, 'o', color=colours[row.method], alpha=.45)
        left.errorbar(position, row.accuracy_mean, row.accuracy_std, fmt='D', capsize=7, markersize=7,
                      color=colours[row.method])
        left.annotate(f'{row.accuracy_mean:.1f}', (position, row.accuracy_mean), xytext=(24, 0),
                      textcoords='offset points', va='center', color=colours[row.method], weight='bold')
    left.set_xticks(range(len(columns)), [row.method for row in columns])
    left.set_xlim(-.5, len(columns) - .3)
    left.set(ylabel='test accuracy, %', title='Last epoch: each seed, mean ± standard deviation')

    for row in columns:
        curves = [dict(result.curve) for result in results if result.method == row.method]
        epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
        values = np.array([[curve[epoch] for epoch in epochs] for curve in curves])
        right.plot(epochs, values.mean(axis=0), color=colours[row.method], label=row.method)
        right.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colours[row.method], alpha=.15,
                           linewidth=0)
    right.set(xlabel='epoch', title='While training: mean and range over seeds')

    for axes in (left, right):
        if line is not None:
            axes.axhline(line.accuracy_mean, color='0.4', linestyle='--', linewidth=1,
                         label=f'{line.method}, {line.accuracy_mean:.1f}')
        axes.grid(alpha=.25)
    lowest = min(min(row.accuracies) for row in rows)
    highest = max(max(row.accuracies) for row in rows)
    margin = .12 * (highest - lowest) + .3
    left.set_ylim(lowest - margin, min(highest + margin, 100.3))
    right.legend(loc='center right')

    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=140)
    pyplot.close(figure)
    write_atomically(path, buffer.getvalue())
