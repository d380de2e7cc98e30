"""Pictures of results over seeds."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

from wsld_plugin.files import save_figure

from .report import Line, Score


def plot_lines(path: str | Path, lines: Sequence[Line], title: str, report: str = 'last') -> None:
    """Draw every method: each seed's accuracy, mean ± standard deviation, and the published figure.

    The rows of the table stand below each other, each on the range of its own accuracies.

    Args:
        path: the PNG to write.
        lines: of the table.
        title: above the picture.
        report: which epoch is drawn, ``'last'`` or ``'best'``.
    """
    rows: dict[str, list[Line]] = {}
    for line in lines:
        rows.setdefault(line.row, []).append(line)
    heights = [.45 + .32 * len(of_row) for of_row in rows.values()]
    figure, panels = pyplot.subplots(len(rows), 1, figsize=(8, sum(heights) + 1.3), squeeze=False,
                                     layout='constrained', height_ratios=heights)
    figure.suptitle(title)
    for axes, (row, of_row) in zip(panels[:, 0], rows.items(), strict=True):
        for position, line in enumerate(of_row):
            _draw(axes, position, line.last if report == 'last' else line.best, line.published)
        axes.set_yticks(range(len(of_row)), [line.method for line in of_row])
        axes.set_ylim(len(of_row) - .5, -.5)
        axes.set_title(row, loc='left', fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.margins(x=.12)
        axes.grid(axis='x', alpha=.25)
    panels[-1, 0].set_xlabel(f'test accuracy of the {report} epoch, %: seeds, mean ± standard deviation'
                             + (' (diamond: published)' if any(line.published for line in lines) else ''))
    save_figure(figure, path)


def _draw(axes: pyplot.Axes, position: int, ours: Score | None, published: float | None) -> None:
    if ours is not None:
        axes.plot(ours.values, [position] * len(ours.values), 'o', color='C0', alpha=.35, markersize=5)
        axes.errorbar(ours.mean, position, xerr=ours.std, fmt='o', color='C0', capsize=5, markersize=7)
        axes.annotate(f'{ours.mean:.2f}', (ours.mean, position), xytext=(0, 6), textcoords='offset points',
                      ha='center', fontsize=8)
    if published is not None:
        axes.plot(published, position, 'D', color='C1', fillstyle='none', markersize=8)
