"""The table of a plan: its results over seeds and the published figures, as Markdown, JSON and pictures."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from wsld_plugin.config.load import load_config
from wsld_plugin.datasets.weak import WeakLabels, measure
from wsld_plugin.errors import ConfigError, RunError
from wsld_plugin.files import check_picture, save_figure, to_json, write_atomically
from wsld_plugin.losses.checks import HIDDEN

from .plan import Cell, Plan, training_set
from .runs import Result, finished, train_missing


@dataclass(frozen=True)
class Score:
    """Top-1 accuracies in percent, one for each run, with mean and standard deviation (n − 1; None for one run)."""

    mean: float
    std: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Score:
        """The score of at least one run."""
        return cls(mean(values), stdev(values) if len(values) > 1 else None, tuple(values))

    def __str__(self) -> str:
        return f'{self.mean:.2f}' + ('' if self.std is None else f' ± {self.std:.2f}')


@dataclass(frozen=True)
class Line:
    """A cell of a table: the scores of the last and of the best epoch, and the published figure as in `Cell`.

    ``last``, ``best`` and ``seconds_mean`` are None without any result. ``n`` runs have a result, ``missing`` none.
    """

    row: str
    method: str
    last: Score | None
    best: Score | None
    n: int
    missing: int
    seconds_mean: float | None
    published: float | None
    source: str
    epoch: str = 'last'

    @classmethod
    def of(cls, cell: Cell, results: Sequence[Result | None]) -> Line:
        """The line of a cell; None is a run without a result."""
        found = [result for result in results if result]
        last, best = [result.last_accuracy for result in found], [result.best_accuracy for result in found]
        return cls(cell.row, cell.method, Score.of(last) if found else None, Score.of(best) if found else None,
                   len(found), len(results) - len(found), mean(result.seconds for result in found) if found else None,
                   cell.published, cell.source, cell.epoch)


def reproduce(plan: Plan, work_dir: Path, jobs: int, train: bool = True) -> None:
    """Train the missing runs of a plan, and write and print the table of the finished ones.

    Runs are in ``<work_dir>/<config>/seed<n>/``, shared by all plans. A finished run is not repeated, an interrupted
    one is resumed. The table is written to ``<work_dir>/<plan>.md``, ``.json`` and ``.png``, also if runs failed;
    without a finished run nothing is written. ``train=False`` only reports.

    Raises:
        ConfigError: before anything is trained, for an invalid config of the plan.
        RunError: at the end, if runs failed.
    """
    runs = plan.runs(work_dir, check_files=train)
    failure = train_missing(plan.title, runs.values(), work_dir, jobs) if train else None
    results = {cell: [finished(run) for run in of_cell] for cell, of_cell in runs.items()}
    lines = [Line.of(cell, of_cell) for cell, of_cell in results.items()]
    done = [line for line in lines if line.n]
    found = [(cell, result) for cell, of_cell in results.items() for result in of_cell if result]
    if found:
        machines = sorted({result.machine for _, result in found})
        options = '\n'.join(f'{key}={value}' for key, value in plan.options)
        paragraphs = [
            options and f"With these settings instead of the configs':\n\n{options}", markdown_table(done),
            f'{len(lines) - len(done)} cells were not run.' if len(done) < len(lines) else '', '\n'.join(machines)]
        content = dict(seeds=list(plan.seeds), options=dict(plan.options), machines=machines,
                       lines=[asdict(line) for line in lines],
                       curves=[dict(row=cell.row, method=cell.method, seed=result.seed, accuracy=result.curve)
                               for cell, result in found])
        write_report(plan, work_dir / plan.name, paragraphs, content,
                     partial(plot_lines, lines=done, title=plan.title))
    else:
        print(f'{plan.title}\n\nNo run is finished in {work_dir}; nothing is written.')
    if failure:
        raise failure


def write_report(plan: Plan, base: Path, paragraphs: Iterable[str], content: Mapping[str, Any],
                 draw: Callable[[Path], None] | None) -> None:
    """Write a report on a plan to ``<base>.md``, ``.json`` and, with ``draw``, ``.png``; print its paragraphs."""
    text = '\n\n'.join(filter(None, [plan.title, *paragraphs]))
    write_atomically(base.with_suffix('.md'), (text + '\n').encode())
    write_atomically(base.with_suffix('.json'), to_json(dict(plan=plan.name, title=plan.title, **content)))
    if draw:
        draw(base.with_suffix('.png'))
    print(f'\n{text}\n\nWritten: {base}.md, {base}.json' + (f', {base}.png' if draw else ''))


def markdown_table(lines: Sequence[Line]) -> str:
    """A Markdown table of lines with results, with the sources of the published figures below it."""
    sources = list(dict.fromkeys(line.source for line in lines if line.published is not None and line.source))
    published = any(line.published is not None for line in lines)
    cells = [['', 'method', 'last epoch, %', 'best epoch, %', 'n', 'time a run', *['published, %'] * published]]
    for before, line in zip([None, *lines], lines, strict=False):
        figure = '' if line.published is None else f'{line.published:.2f}, {line.epoch} epoch'
        if figure and line.source:
            figure += f' [{sources.index(line.source) + 1}]'
        seconds = line.seconds_mean or 0.
        time = (f'{seconds:.0f} s' if seconds < 120 else
                f'{seconds / 60:.0f} min' if seconds < 7200 else f'{seconds / 3600:.1f} h')
        cells.append(['' if before and line.row == before.row else line.row, line.method, str(line.last),
                      str(line.best), str(line.n), time, *[figure] * published])
    notes = [f'[{number}] {source}' for number, source in enumerate(sources, start=1)]
    return '\n'.join([aligned_table(cells), *([''] if notes else []), *notes])


def aligned_table(cells: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the header first, as a Markdown table whose columns are aligned in plain text."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + ' |'
             for line in cells]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(lines)


def plot_lines(path: str | Path, lines: Sequence[Line], title: str) -> None:
    """Draw the accuracy of each run, mean ± standard deviation, and the published figure; a panel for each row."""
    from matplotlib.figure import Figure  # not needed to train
    from matplotlib.ticker import MaxNLocator

    rows = {row: list(of_row) for row, of_row in groupby(lines, attrgetter('row'))}
    epochs = sorted({line.epoch for line in lines}, reverse=True)
    heights = [.45 + .32 * len(of_row) for of_row in rows.values()]
    figure = Figure(figsize=(8, sum(heights) + 1.3), layout='constrained')
    figure.suptitle(title)
    panels = figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights)
    for axes, (row, of_row) in zip(panels[:, 0], rows.items(), strict=True):
        for position, line in enumerate(of_row):
            ours = line.last if line.epoch == 'last' else line.best
            if ours is not None:
                axes.plot(ours.values, [position] * len(ours.values), 'o', color='C0', alpha=.35, markersize=5)
                axes.errorbar(ours.mean, position, xerr=ours.std, fmt='o', color='C0', capsize=5, markersize=7)
                axes.annotate(f'{ours.mean:.2f}', (ours.mean, position), xytext=(0, 6),
                              textcoords='offset points', ha='center', fontsize=8)
            if line.published is not None:
                axes.plot(line.published, position, 'D', color='C1', fillstyle='none', markersize=8)
        axes.set_yticks(range(len(of_row)), [line.method + f', {line.epoch} epoch' * (len(epochs) > 1)
                                             for line in of_row])
        axes.set_ylim(len(of_row) - .5, -.5)
        axes.set_title(row, loc='left', fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.margins(x=.12)
        axes.grid(axis='x', alpha=.25)
    panels[-1, 0].set_xlabel(f'test accuracy of the {" or ".join(epochs)} epoch, %: runs, mean ± standard deviation'
                             + (' (diamond: published)' if any(line.published for line in lines) else ''))
    save_figure(figure, path)


def draw_plane(plan: Plan, work_dir: Path, path: str | Path) -> str:
    """Draw the accuracies of a plan's finished runs over the unreliability Δ and the ambiguity γ of their labels.

    The students of the plan learn from candidate sets (`PartialLabels`) or from labels (`NoisyLabels`). ``work_dir``
    is the folder of all runs, and ``path`` the PNG. Returns the same as a table, Δ and γ against the true labels.

    Raises:
        ConfigError: a training set that has neither; a path that does not name a PNG. RunError: nothing is finished.
    """
    from wsld_plugin.analysis.plots import plot_plane  # imports matplotlib

    check_picture(path, 'plane.png')
    points: list[tuple[float, float, list[float]]] = []
    cells = [['', '', 'measured Δ', 'measured γ', 'Δ + γ', 'last epoch, %', 'n']]
    for cell, runs in plan.runs(work_dir, check_files=False).items():
        accuracies = [result.last_accuracy for result in map(finished, runs) if result]
        if not accuracies:
            continue
        dataset = training_set(load_config(cell.config, {**dict(plan.options), **dict(cell.options)}))
        sets = getattr(dataset, 'candidates', None)
        if not isinstance(dataset, WeakLabels) or (sets is None and (dataset.get_gt_labels() == HIDDEN).any()):
            raise ConfigError(f'{cell}: its training set, {type(dataset).__name__}, has neither candidate sets nor a '
                              'label for each sample, as PartialLabels and NoisyLabels have. Choose other rows with '
                              '--rows.')
        if sets is None:
            sets = np.eye(dataset.num_classes, dtype=bool)[dataset.get_gt_labels()]  # sets of one class
        delta, gamma = measure(sets, dataset.given_labels)
        points.append((delta, gamma, accuracies))
        cells.append([cell.row, cell.method, f'{delta:.3f}', f'{gamma:.3f}', f'{delta + gamma:.2f}',
                      str(Score.of(accuracies)), str(len(accuracies))])
    if not points:
        raise RunError(f'no run of {plan.name} is finished in {work_dir}: train them with tools/reproduce.py first.')
    plot_plane(path, points, plan.title)
    return aligned_table(cells)
