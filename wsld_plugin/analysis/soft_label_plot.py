"""A picture of what `SoftLabelMonitorHook` told of several runs."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot

from wsld_plugin.errors import ConfigError
from wsld_plugin.files import check_picture, save_figure

from .epoch_records import Epochs, read_epochs


def plot_runs(path: str | Path, runs: Sequence[str | Path]) -> None:
    """Draw the fraction of regularization samples over the epochs, and the weights of the last, for each τ.

    Runs of equal τ in one folder, as ``tools/reproduce.py`` leaves them, are taken for seeds: their mean is drawn,
    and each run's curve lightly. Where several folders have runs of one τ, the folders' names tell them apart.

    Args:
        path: the PNG to write; missing folders are made.
        runs: folders of runs, all with as many epochs.

    Raises:
        ConfigError: another file than a PNG, or one that cannot be written; a run without the hook's file, or with
            other epochs than the first.
    """
    check_picture(path, 'soft_labels.png')
    groups: dict[tuple[float, str], list[Epochs]] = {}
    numbers = None
    for run in runs:
        epochs = read_epochs(run)
        numbers = numbers or [epoch['epoch'] for epoch in epochs]
        if [epoch['epoch'] for epoch in epochs] != numbers:
            raise ConfigError(f'{run} has {len(epochs)} epochs and {runs[0]} {len(numbers)}: only runs of the same '
                              'length stand in one picture.')
        groups.setdefault((epochs[0]['tau'], str(Path(run).resolve().parent)), []).append(epochs)
    taus = [tau for tau, _ in groups]
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.4), layout='constrained')
    for place, ((tau, folder), seeds) in enumerate(sorted(groups.items())):
        style = dict(color=pyplot.get_cmap('viridis')(place / max(1, len(groups) - 0.7)))
        name_of_group = f'τ = {tau:g}' + (f', {Path(folder).name}' if taus.count(tau) > 1 else '')
        for axis, name in zip(axes, ('regularization_label', 'regularization_row'), strict=False):
            values = np.array([[epoch[name] for epoch in epochs] for epochs in seeds])
            axis.plot(numbers, values.T, alpha=.2, linewidth=.6, **style)
            axis.plot(numbers, values.mean(0), label=name_of_group, linewidth=1.5, **style)
        histograms = np.array([epochs[-1]['weight_histogram'] for epochs in seeds])
        shares = histograms.sum(0) / histograms.sum()
        axes[2].plot(np.linspace(0, 1, len(shares) + 1), np.cumsum([0, *shares]), linewidth=1.5, **style)
    for axis, title, label in zip(axes, ('at the label', 'in the whole row', 'of the last epoch'),
                                  ('epoch', 'epoch', "WSLD's weight w"), strict=True):
        axis.set(title=title, xlabel=label, ylim=(-.02, 1.02))
        axis.grid(alpha=.25)
    axes[0].set_ylabel('fraction of regularization samples')
    axes[2].set_ylabel('fraction of samples with a weight ≤ w')
    axes[0].legend(fontsize=8)
    save_figure(figure, path, dpi=120)
