"""A picture of accuracies over the plane of unreliability and ambiguity."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import pyplot

from wsld_plugin.files import save_figure


class PlanePoint(NamedTuple):
    """A set of soft labels, by its measured Δ and γ, and the accuracies in percent of students that it taught."""

    unreliability: float
    ambiguity: float
    accuracies: Sequence[float]


def plot_plane(path: str | Path, points: Sequence[PlanePoint], title: str) -> None:
    """Draw the mean accuracy at each (Δ, γ), and the line Δ + γ = 1.

    Below the line the condition of Yuan et al. (NeurIPS 2023, arXiv 2302.08155) holds, which is sufficient for
    learning, not necessary.

    Args:
        path: the PNG to write.
        points: at least one; Δ and γ of 0 … 1, at least one accuracy each.
        title: above the picture.

    Raises:
        ValueError: no points, or one without accuracies or with a number that is out of range or NaN.
    """
    if not points:
        raise ValueError('plot_plane was given no points.')
    for number, point in enumerate(points):
        shares = np.array([point.unreliability, point.ambiguity, *(value / 100 for value in point.accuracies)])
        if not len(point.accuracies) or not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError(f'point {number} is {point}, expected Δ and γ of 0 … 1 and accuracies of 0 … 100 %.')
    figure, axes = pyplot.subplots(figsize=(6.5, 5.5), layout='constrained')
    unreliability, ambiguity, means = np.array([(*point[:2], np.mean(point.accuracies)) for point in points]).T
    dots = axes.scatter(unreliability, ambiguity, c=means, s=900, vmin=0, vmax=100, cmap='viridis', edgecolors='k')
    for x, y, mean in zip(unreliability, ambiguity, means, strict=True):
        axes.annotate(f'{mean:.0f}', (x, y), ha='center', va='center', color='k' if mean > 55 else 'w')
    axes.plot([0, 1], [1, 0], 'k--', label='Δ + γ = 1')
    axes.set(xlim=(-.08, 1.05), ylim=(-.05, 1.1), xlabel='unreliability Δ: the label is missing',
             ylabel='ambiguity γ: a wrong class is there', title=title)
    axes.legend(loc='upper right')
    figure.colorbar(dots, label='accuracy of the student, %')
    save_figure(figure, path)
