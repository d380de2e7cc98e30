"""Pictures as PNG files, and charts as SVG for a page, without a display or pyplot state."""
from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wsld_plugin.errors import ConfigError
from wsld_plugin.files import check_picture, save_figure

from .bias_variance import QUANTITIES
from .biased import BiasedLabels
from .page import COLOURS

_FIELDS = {'epoch', 'tau', 'regularization_label', 'regularization_row', 'weight_histogram'}
_STYLE = {'font.sans-serif': ['DejaVu Sans'], 'svg.fonttype': 'none', 'axes.edgecolor': COLOURS['rule'],
          'grid.color': COLOURS['rule'], 'axes.grid': True, 'axes.grid.axis': 'y', 'axes.axisbelow': True,
          **dict.fromkeys(('text.color', 'axes.labelcolor', 'xtick.color', 'ytick.color'), COLOURS['ink'])}


def plot_runs(path: str | Path, runs: Sequence[str | Path]) -> None:
    """Draw the fraction of regularization samples over the epochs, and the weights of the last epoch, for each τ.

    ``runs`` are folders of runs with `SoftLabelMonitorHook`, of equal numbers of epochs. Runs of equal τ in one
    folder, as ``tools/reproduce.py`` writes them, are seeds: their mean is drawn, and each curve lightly. If several
    folders have runs of one τ, the legend names the folders.

    Raises:
        ConfigError: ``path`` is no PNG or cannot be written; a run has no records, or other epochs than the first.
    """
    check_picture(path, 'soft_labels.png')
    groups: dict[tuple[float, str], list[list[dict[str, Any]]]] = {}
    numbers: list[int] = []
    for run in runs:
        epochs = _read_epochs(Path(run) / 'soft_label_monitor/epochs.json')
        numbers = numbers or [epoch['epoch'] for epoch in epochs]
        if [epoch['epoch'] for epoch in epochs] != numbers:
            raise ConfigError(f'{run} has {len(epochs)} epochs and {runs[0]} {len(numbers)}: give runs of the same '
                              'length.')
        groups.setdefault((epochs[0]['tau'], str(Path(run).resolve().parent)), []).append(epochs)
    taus = [tau for tau, _ in groups]
    figure = Figure(figsize=(11, 3.4), layout='constrained')
    axes = figure.subplots(1, 3)
    for place, ((tau, folder), seeds) in enumerate(sorted(groups.items())):
        colour = matplotlib.colormaps['viridis'](place / max(1, len(groups) - 0.7))
        label = f'τ = {tau:g}' + (f', {Path(folder).name}' if taus.count(tau) > 1 else '')
        for axis, name in zip(axes, ('regularization_label', 'regularization_row'), strict=False):
            values = np.array([[epoch[name] for epoch in epochs] for epochs in seeds])
            axis.plot(numbers, values.T, alpha=.2, linewidth=.6, color=colour)
            axis.plot(numbers, values.mean(0), label=label, color=colour)
        shares = np.cumsum([0, *np.sum([epochs[-1]['weight_histogram'] for epochs in seeds], axis=0)])
        axes[2].plot(np.linspace(0, 1, len(shares)), shares / shares[-1], color=colour)
    for axis, title, label in zip(axes, ('at the label', 'in the whole row', 'of the last epoch'),
                                  ('epoch', 'epoch', "WSLD's weight w"), strict=True):
        axis.set(title=title, xlabel=label, ylim=(-.02, 1.02))
        axis.grid(alpha=.25)
    axes[0].set_ylabel('fraction of regularization samples')
    axes[2].set_ylabel('fraction of samples with a weight ≤ w')
    axes[0].legend(fontsize=8)
    save_figure(figure, path, dpi=120)


def _read_epochs(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise ConfigError(f'{path} does not exist: train with '
                          "custom_hooks=[dict(type='wsld_plugin.SoftLabelMonitorHook')] and give the run's folder.")
    with suppress(ValueError, TypeError):
        epochs = json.loads(path.read_text())
        if epochs and all(set(epoch) >= _FIELDS for epoch in epochs):
            return epochs
    raise ConfigError(f'{path} is damaged or empty: expected the list of epochs that SoftLabelMonitorHook writes, '
                      f'each with {", ".join(sorted(_FIELDS))}. Train again, or omit this run.')


def plot_plane(path: str | Path, points: Sequence[tuple[float, float, Sequence[float]]], title: str) -> None:
    """Draw the mean accuracy of students over the unreliability Δ and ambiguity γ of their labels.

    ``points`` are Δ, γ, and the accuracies of at least one student in percent. Below the line Δ + γ = 1 the condition
    of Yuan et al. (NeurIPS 2023, arXiv 2302.08155) holds, which is sufficient for learning, not necessary.
    """
    figure = Figure(figsize=(6.5, 5.5), layout='constrained')
    axes = figure.subplots()
    unreliability, ambiguity, means = np.array([(*point[:2], np.mean(point[2])) for point in points]).T
    dots = axes.scatter(unreliability, ambiguity, c=means, s=900, vmin=0, vmax=100, cmap='viridis', edgecolors='k')
    for x, y, mean in zip(unreliability, ambiguity, means, strict=True):
        axes.annotate(f'{mean:.0f}', (x, y), ha='center', va='center', color='k' if mean > 55 else 'w')
    axes.plot([0, 1], [1, 0], 'k--', label='Δ + γ = 1')
    axes.set(xlim=(-.08, 1.05), ylim=(-.05, 1.1), xlabel='unreliability Δ: the label is missing',
             ylabel='ambiguity γ: a wrong class is present', title=title)
    axes.legend(loc='upper right')
    figure.colorbar(dots, label='accuracy of the student, %')
    save_figure(figure, path)


class Series(NamedTuple):
    """A line of a picture of error, bias and variance, by name: a value for each x, and (low, high) of its bar.

    Without x, the single value is drawn as a dashed horizontal line.
    """

    label: str
    x: Sequence[float] | None
    values: Mapping[str, Sequence[float]]
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None


def plot_bias_variance(path: str | Path, rows: Mapping[str, Sequence[Series]], title: str) -> None:
    """Draw error, bias and variance beside each other as a PNG, with one row of panels for each x axis.

    ``rows`` has the series by the name of their x axis, such as ``'epoch'``, or ``'τ'``, which is logarithmic.
    """
    figure = Figure(figsize=(11, 3.3 * len(rows) + .9), layout='constrained')
    figure.suptitle(title)
    panels = figure.subplots(len(rows), 3, squeeze=False)
    for of_row, (name, series) in zip(panels, rows.items(), strict=True):
        for axes, quantity in zip(of_row, QUANTITIES, strict=True):
            for number, line in enumerate(series):
                values, colour = np.asarray(line.values[quantity]), f'C{number % 10}'
                if line.x is None:
                    axes.axhline(values[0], color=colour, linestyle='--', label=line.label)
                    continue
                bars = None
                if line.intervals is not None:  # a bootstrap interval need not contain the estimate
                    low, high = np.array(line.intervals[quantity]).T
                    bars = [np.maximum(values - low, 0), np.maximum(high - values, 0)]
                axes.errorbar(line.x, values, yerr=bars, fmt='o-', color=colour, markersize=4, capsize=3,
                              label=line.label)
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


def reliability(bins: np.ndarray) -> Figure:
    """Reliability diagram of ``Calibration.bins``, with the diagonal of a calibrated teacher."""
    figure, axes = _chart('confidence', 'accuracy', xlim=(0, 1), ylim=(0, 1))
    for place, (count, _, accuracy) in enumerate(bins):
        if count:  # pale below 1% of the fullest bin
            axes.bar(place / len(bins), accuracy, 0.95 / len(bins), align='edge', color=COLOURS['a'],
                     alpha=1 if count >= bins[:, 0].max() / 100 else .35)
    axes.plot((0, 1), (0, 1), '--', color=COLOURS['c'])
    return figure


def entropies(counts: np.ndarray, num_classes: int) -> Figure:
    """Histogram of ``Calibration.entropy_counts``, on an axis of log(1 + images)."""
    powers = [10**power for power in range(len(str(int(counts.max()))) + 1)]
    width = math.log(num_classes) / len(counts)
    figure, axes = _chart('entropy, nats', 'images, logarithmic', xlim=(0, math.log(num_classes)))
    axes.bar(width * np.arange(len(counts)), counts, 0.95 * width, align='edge', color=COLOURS['a'])
    axes.set_yscale('function', functions=(np.log1p, np.expm1))
    axes.set(ylim=(0, powers[-1]), yticks=[0, *powers], yticklabels=[f'{each:,}' for each in (0, *powers)])
    return figure


def misleading(found: BiasedLabels) -> Figure:
    """Δ_k, γ_k and their sum over k, the range where the sum is below 1, and the best k."""
    ks = np.arange(1, len(found.margin) + 1)
    figure, axes = _chart('k', 'probability', ylim=(0, 1.5))
    total, marker = found.unreliability + found.ambiguity, 'o' if len(ks) <= 20 else ''
    axes.fill_between(ks, np.minimum(total, 1), 1, color=COLOURS['good'], alpha=.22, linewidth=0)
    for name, colour in (('unreliability', COLOURS['a']), ('ambiguity', COLOURS['b'])):
        if name in found.intervals:
            axes.fill_between(ks, *found.intervals[name], color=colour, alpha=.22, linewidth=0)
        axes.plot(ks, getattr(found, name), color=colour, marker=marker, markersize=4)
    axes.plot(ks, total, '--', color=COLOURS['c'])
    if found.best_k:
        axes.axvline(found.best_k, linestyle=':', color=COLOURS['good'])
    if marker:
        axes.set_xticks(ks)
    else:
        axes.set_xscale('log')
        axes.xaxis.set_major_formatter('{x:g}')
    return figure


def svg(figure: Figure, label: str) -> str:
    """A chart in `COLOURS` as an SVG element in the colours of the page, with ``label`` as alternative text."""
    buffer = io.StringIO()
    with matplotlib.rc_context({**_STYLE, 'svg.hashsalt': label}):  # names that are unique on the page
        figure.savefig(buffer, format='svg', transparent=True,
                       metadata=dict.fromkeys(('Format', 'Type', 'Creator', 'Date')))
    text = buffer.getvalue()
    text = text[text.index('<svg'):].replace('<svg', f'<svg role="img" aria-label="{escape(label)}"', 1)
    for name, colour in COLOURS.items():
        text = text.replace(colour, f'var(--{name})')
    # names without a reference, such as figure_1, are repeated in other charts
    return re.sub(r' id="([^"]+)"', lambda found: found[0] if f'#{found[1]}' in text else '', text)


def _chart(xlabel: str, ylabel: str, **settings: Any) -> tuple[Figure, Axes]:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5, 3.3), layout='constrained')
        axes = figure.subplots()
        axes.set(xlabel=xlabel, ylabel=ylabel, **settings)
    return figure, axes
