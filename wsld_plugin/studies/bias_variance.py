"""Bias and variance of the methods of a plan, of students on disjoint parts of the training set."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wsld_plugin.analysis import bias_variance as analysis
from wsld_plugin.analysis.bias_variance import MIN_MODELS, QUANTITIES, Draws
from wsld_plugin.errors import ConfigError, RunError
from wsld_plugin.hooks.predictions import epoch_files, read_log_probabilities, read_target

from .plan import Cell, Plan
from .runs import Result, Run, finished, train_missing
from .table import Score, aligned_table, write_report

Intervals = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Finding:
    """Error, bias and variance of a cell, in nats.

    Args:
        row, method, tau: of the cell.
        models, samples, teachers: M; N of the test set; number of teachers that are trained for the models, or None.
        accuracy: top-1 in percent of the last epoch, over the models.
        epochs: `Decomposition.totals` by epoch.
        over_samples: 95 % bootstrap intervals of the last epoch over the test samples.
        over_models: the same over the models, given their teachers; None below `MIN_MODELS` models.
        difference: totals of the last epoch minus those of the first cell, with both kinds of paired intervals.
        irreducible: mean entropy of the true posterior, if known; error and bias do not contain it.
        notes, machines: remarks of the decomposition; hardware and versions of the runs.
    """

    row: str
    method: str
    tau: float | None
    models: int
    samples: int
    accuracy: Score
    epochs: dict[int, dict[str, float]]
    over_samples: Intervals
    over_models: Intervals | None
    difference: dict[str, Any] | None = None
    irreducible: float | None = None
    notes: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    teachers: int | None = None

    @property
    def last(self) -> dict[str, float]:
        """Totals of the last epoch."""
        return self.epochs[max(self.epochs)]

    def __str__(self) -> str:
        return f'{self.row}: {self.method}'


def study(plan: Plan, work_dir: Path, jobs: int, train: bool = True) -> None:
    """Train the missing runs of a plan with parts, measure bias and variance, and write and print the report.

    The report is ``<work_dir>/<plan>_bias_variance.md``, ``.json`` and ``.png``. It covers the cells whose runs are
    all finished, also if other runs failed; without any such cell an earlier report is kept. The cells are compared
    with the first one. ``train=False`` only reports.

    Raises:
        ConfigError: before anything is trained, for an invalid plan or config.
        RunError: at the end, if runs failed or no cell can be reported; see `measure_cells`.
    """
    if plan.parts is None:
        raise ConfigError(f'{plan.name} has no parts, which bias and variance need. Add parts to the plan '
                          'in place of seeds, or train it with tools/reproduce.py.')
    runs = plan.runs(work_dir, check_files=train)
    failure = train_missing(plan.title, runs.values(), work_dir, jobs) if train else None
    findings, left_out = measure_cells(plan, runs)
    if findings:
        content = dict(models=len(plan.seeds), parts=plan.parts, size=plan.size, teachers=plan.teachers,
                       options=dict(plan.options), left_out=left_out, findings=list(map(asdict, findings)))
        write_report(plan, work_dir / f'{plan.name}_bias_variance',
                     [*paragraphs(plan, findings), '\n'.join(left_out)], content, _picture(plan, findings))
    if failure:
        raise failure
    if not findings:
        hint = '' if train else (' Runs with other options are in other folders: give the options that they had, or '
                                 'train without --report-only.')
        raise RunError('\n'.join([f'No cell can be reported from {work_dir}; nothing is written.{hint}', *left_out]))


def measure_cells(plan: Plan, runs: Mapping[Cell, Sequence[Run]]) -> tuple[list[Finding], list[str]]:
    """A finding for each cell whose runs are all finished, and a message for each cell that is left out.

    Cells with missing runs, or with predictions that are infinite or NaN, are left out. Predictions are read one
    epoch at a time, as memory maps.

    Raises:
        RunError: runs that were validated on different samples or in different epochs; an unreadable file.
    """
    findings: list[Finding] = []
    left_out: list[str] = []
    first: tuple[Mapping[str, Any] | None, ...] = ()
    checked: tuple[Path, Any] | None = None
    for cell, of_cell in runs.items():
        results = [result for result in map(finished, of_cell) if result]
        if len(results) < len(of_cell):
            left_out.append(f'{cell}: left out, {len(results)} of {len(of_cell)} runs are finished.')
            continue
        diverged = list(filter(None, map(_diverged, of_cell)))
        if diverged:
            left_out.append(f'{cell}: left out, log-probabilities are infinite or NaN: {"; ".join(diverged)}. To '
                            'train it again, move the folder away; with the same settings it may diverge again.')
            continue
        folder, target = checked = checked or (of_cell[0].work_dir, read_target(of_cell[0].work_dir))
        for run in of_cell:
            own: Any = read_target(run.work_dir)
            if not all(map(np.array_equal, own, target)):  # posteriors may be None
                raise RunError(f'{run.work_dir} and {folder} were validated on different samples.')
        finding, measured = _measure(cell, of_cell, results, *target)
        if cell == plan.cells[0]:
            first = measured
        elif first:
            last, over_samples, over_models = (
                one and other and {name: one[name] - other[name] for name in QUANTITIES}
                for one, other in zip(measured, first, strict=True))
            finding = replace(finding, difference=dict(
                last or {}, over_samples=_intervals(over_samples), over_models=_intervals(over_models)))
        findings.append(finding)
    return findings, left_out


def _diverged(run: Run) -> str:
    for epoch, path in epoch_files(run.work_dir).items():
        log_p = read_log_probabilities(path)
        finite = int(np.isfinite(log_p).all(axis=-1).sum())
        if finite < len(log_p):
            return f'{run.work_dir}, {len(log_p) - finite} of {len(log_p)} samples in epoch {epoch}'
    return ''


def _measure(cell: Cell, runs: Sequence[Run], results: Sequence[Result], labels: np.ndarray,
             posteriors: np.ndarray | None) -> tuple[Finding, tuple[dict[str, float], Draws, Draws | None]]:
    files = [epoch_files(run.work_dir) for run in runs]
    for run, of_run in zip(runs, files, strict=True):
        if of_run.keys() != files[0].keys():
            raise RunError(f'{run.work_dir} has predictions of the epochs {list(of_run)}, {runs[0].work_dir} of '
                           f'{list(files[0])}.')
    target = labels if posteriors is None else posteriors
    irreducible = None if posteriors is None else float(analysis.entropy(posteriors).mean())
    teachers = [run.needs for run in runs] if any(run.needs for run in runs) else None
    epochs = {}
    for epoch in files[0]:
        log_p = [read_log_probabilities(of_run[epoch]) for of_run in files]
        found = analysis.decompose(log_p, target, teachers)
        epochs[epoch] = found.totals()
    over_samples = analysis.resample_samples(found)
    over_models = analysis.resample_models(log_p, target) if len(runs) >= MIN_MODELS else None
    accuracy = Score.of([result.last_accuracy for result in results])
    machines = tuple(sorted({result.machine for result in results}))
    finding = Finding(
        cell.row, cell.method, cell.tau, len(runs), len(labels), accuracy, epochs, _intervals(over_samples) or {},
        _intervals(over_models), irreducible=irreducible, notes=found.notes, machines=machines,
        teachers=len(set(teachers)) if teachers else None)
    return finding, (finding.last, over_samples, over_models)


def _intervals(draws: Mapping[str, Any] | None) -> Intervals | None:
    return {quantity: analysis.interval(draws[quantity]) for quantity in QUANTITIES} if draws else None


def paragraphs(plan: Plan, findings: Sequence[Finding]) -> list[str]:
    """The report: a table of error, bias and variance, one of the differences from the first cell, and notes."""
    one = findings[0]
    cells = [['', 'method', *QUANTITIES, 'top-1, %']]
    cells += [[*_row(finding, finding.last, finding.over_samples), str(finding.accuracy)] for finding in findings]
    parts = [aligned_table(cells), (
        f'Nats per test sample, last epoch, M = {one.models} models on disjoint parts, N = {one.samples} test '
        'samples. In brackets: 95 % bootstrap over the test samples. Variance times M/(M−1); bias is error less '
        'variance. Top-1: mean ± standard deviation over the models.'
        + ('' if one.irreducible is None else ' Error and bias are against the true posterior; the cross entropy '
           f'with labels is higher by its entropy, {one.irreducible:.4f}.'))]
    cells = [['difference from', str(plan.cells[0]), *QUANTITIES]]
    cells += [_row(finding, found, found['over_samples'], found['over_models'])
              for finding in findings if (found := finding.difference)]
    if len(cells) > 1:
        over = 'over the models' if one.over_models else f'fewer than {MIN_MODELS} models are not resampled'
        parts += [aligned_table(cells), f'In brackets: 95 % bootstrap, paired, over the test samples; {over}.']
    notes = [f'{"; ".join(str(finding) for finding in findings if note in finding.notes)}: {note}'
             for note in dict.fromkeys(note for finding in findings for note in finding.notes)]
    machines = sorted({machine for finding in findings for machine in finding.machines})
    return [*parts, '\n'.join(notes), '\n'.join(machines)]


def _row(finding: Finding, values: Mapping[str, float], *kinds: Intervals | None) -> list[str]:
    return [finding.row, finding.method, *(
        f'{values[quantity]:.3f} ' + ' '.join('[{:.3f}, {:.3f}]'.format(*kind[quantity]) for kind in kinds if kind)
        for quantity in QUANTITIES)]


def _picture(plan: Plan, findings: Sequence[Finding]) -> Callable[[Path], None] | None:
    """What draws error, bias and variance over τ and over the epochs; None with neither a τ nor several epochs."""
    from wsld_plugin.analysis.plots import Series, plot_bias_variance  # matplotlib is not needed to train

    def columns(totals: Sequence[Mapping[str, Any]]) -> dict[str, list]:
        return {quantity: [each[quantity] for each in totals] for quantity in QUANTITIES}

    rows: dict[str, list[Series]] = {}
    with_tau = [finding for finding in findings if finding.tau is not None]
    if with_tau:
        rows['τ'] = [Series(each.method, None, columns([each.last])) for each in findings if each.tau is None]
    for row in dict.fromkeys(finding.row for finding in with_tau):
        members = [finding for finding in with_tau if finding.row == row]
        rows['τ'].append(Series(row, [finding.tau or 0. for finding in members],
                                columns([finding.last for finding in members]),
                                columns([finding.over_models or finding.over_samples for finding in members])))
    if any(len(finding.epochs) > 1 for finding in findings):
        rows['epoch'] = [Series(str(each), [*each.epochs], columns([*each.epochs.values()])) for each in findings]
    return partial(plot_bias_variance, rows=rows, title=f'{plan.title}, {len(plan.seeds)} models') if rows else None
