"""Pictures of error, bias and variance."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import pyplot

from wsld_plugin.files import save_figure

from .bias_variance_bootstrap import QUANTITIES


@dataclass(frozen=True)
class Series:
    """A line of a picture.

    Args:
        label: in the legend.
        x: where the points are; None: the one value holds everywhere, a dashed line.
        values: error, bias and variance by name, one number a point.
        intervals: (low, high) of each point by name, where they are drawn.
    """

    label: str
    x: Sequence[float] | None
    values: Mapping[str, Sequence[float]]
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None


def plot_bias_variance(path: str | Path, rows: Mapping[str, Sequence[Series]], title: str) -> None:
    """Draw error, bias and variance beside each other, one row of panels for each thing that they depend on.

    Args:
        path: the PNG to write.
        rows: the series by the name of their x axis, such as ``'τ'``, on a logarithmic scale, and ``'epoch'``.
        title: above the picture.
    """
    figure, panels = pyplot.subplots(len(rows), 3, figsize=(11, 3.3 * len(rows) + .9), squeeze=False,
                                     layout='constrained')
    figure.suptitle(title)
    for of_row, (name, series) in zip(panels, rows.items(), strict=True):
        for axes, quantity in zip(of_row, QUANTITIES, strict=True):
            for number, line in enumerate(series):
                _draw(axes, line, quantity, f'C{number % 10}')
            if name == 'τ':
                axes.set_xscale('log', base=2)
                axes.xaxis.set_major_formatter('{x:g}')
            elif quantity != 'bias':  # which may be below zero
                axes.set_yscale('log')
            axes.set_title(quantity, fontsize=10)
            axes.set_xlabel(name)
            axes.grid(alpha=.25)
        of_row[0].set_ylabel('nats')
        of_row[-1].legend(fontsize=7)
    save_figure(figure, path, dpi=130)


def _draw(axes: pyplot.Axes, line: Series, quantity: str, colour: str) -> None:
    values = line.values[quantity]
    if line.x is None:
        axes.axhline(values[0], color=colour, linestyle='--', label=line.label)
        return
    bars = None
    if line.intervals is not None:
        # a bootstrap's interval need not hold the estimate
        bars = [[max(value - low, 0) for value, (low, _) in zip(values, line.intervals[quantity], strict=True)],
                [max(high - value, 0) for value, (_, high) in zip(values, line.intervals[quantity], strict=True)]]
    axes.errorbar(line.x, values, yerr=bars, fmt='o-', color=colour, markersize=4, capsize=3, label=line.label)
