"""From finished runs to bias and variance."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any

import numpy as np

from wsld_plugin.analysis.bias_variance import (
    MIN_MODELS,
    QUANTITIES,
    Draws,
    decompose,
    entropy,
    interval,
    resample_models,
    resample_samples,
)
from wsld_plugin.errors import RunError
from wsld_plugin.reproduce.runs import Result, Run, finished

from .plan import Method, Plan
from .predictions import epoch_files, read_log_probabilities, read_target

Intervals = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Finding:
    """Error, bias and variance of a method, in nats.

    Args:
        method: its name with its temperature.
        group: its name without.
        tau: its temperature, or None.
        models: M.
        samples: N, of the test set.
        accuracy: top-1 in percent of the last epoch, mean and standard deviation (M − 1) over the models.
        epochs: totals as `Decomposition.totals` by epoch.
        over_samples: 95 % bootstrap intervals of the last epoch over the test samples.
        over_models: and over the models, given their teachers; None below `MIN_MODELS` models.
        difference: from the first method, the last epoch of each: totals, with paired intervals of both kinds.
        within, between: the variance between data sets and between teachers, where students share several teachers;
            see `Decomposition`.
        irreducible: entropy of the true posterior, where it is known; error and bias are then without it.
        notes: a sentence each.
        machines: on what it was trained.
        teachers: how many the models have among them; None: none, or a checkpoint that the plan does not train.
            With one, everything here is given that teacher; a note says so.
    """

    method: str
    group: str
    tau: float | None
    models: int
    samples: int
    accuracy: tuple[float, float]
    epochs: dict[int, dict[str, float]]
    over_samples: Intervals
    over_models: Intervals | None
    difference: dict[str, Any] | None = None
    within: float | None = None
    between: float | None = None
    irreducible: float | None = None
    notes: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    teachers: int | None = None

    @property
    def last(self) -> dict[str, float]:
        """Totals of the last epoch."""
        return self.epochs[max(self.epochs)]


def measure(plan: Plan, runs: Mapping[Method, Sequence[Run]]) -> tuple[list[Finding], list[str]]:
    """A finding for each method whose runs are all finished, and a sentence for each that is left out.

    Left out are methods of which runs are missing, or predicted what is infinite or NaN. Predictions are read one
    epoch at a time, as memory maps.

    Raises:
        RunError: runs that do not fit each other: other test samples, of whichever method, or other epochs; a file
            that cannot be read.
    """
    findings: list[Finding] = []
    left_out: list[str] = []
    first: tuple[dict[str, float], Draws, Draws | None] | None = None
    checked: Run | None = None
    for method, of_method in runs.items():
        results = [result for result in map(finished, of_method) if result]
        if len(results) < len(of_method):
            left_out.append(f'{method}: left out, {len(results)} of {len(of_method)} runs are finished.')
            continue
        diverged = [told for told in map(_diverged, of_method) if told]
        if diverged:
            left_out.append(f'{method}: left out, log-probabilities are infinite or NaN: {"; ".join(diverged)}. To '
                            'train it again, move the folder away; with the same settings it may diverge again.')
            continue
        checked = checked or of_method[0]
        _check_samples(checked, of_method)
        finding, draws = _measure(method, of_method, results)
        if first is None and method == plan.methods[0]:
            first = (finding.last, *draws)
        elif first is not None:
            finding = replace(finding, difference=_difference((finding.last, *draws), first))
        findings.append(finding)
    return findings, left_out


def _diverged(run: Run) -> str:
    for epoch, path in epoch_files(run.work_dir).items():
        log_p = read_log_probabilities(path)
        finite = int(np.isfinite(log_p).all(axis=-1).sum())
        if finite < len(log_p):
            return f'{run.work_dir}, {len(log_p) - finite} of {len(log_p)} samples in epoch {epoch}'
    return ''


def _check_samples(first: Run, runs: Sequence[Run]) -> None:
    labels, posteriors = read_target(first.work_dir)
    for run in runs:
        own_labels, own = read_target(run.work_dir)
        alike = np.array_equal(own, posteriors) if own is not None and posteriors is not None else own is posteriors
        if not (alike and np.array_equal(own_labels, labels)):
            raise RunError(f'{run.work_dir} and {first.work_dir} were validated on different samples.')


def _measure(method: Method, runs: Sequence[Run], results: Sequence[Result],
             ) -> tuple[Finding, tuple[Draws, Draws | None]]:
    files = [epoch_files(run.work_dir) for run in runs]
    for run, of_run in zip(runs, files, strict=True):
        if of_run.keys() != files[0].keys():
            raise RunError(f'{run.work_dir} has predictions of the epochs {list(of_run)}, {runs[0].work_dir} of '
                           f'{list(files[0])}.')
    labels, posteriors = read_target(runs[0].work_dir)
    target = labels if posteriors is None else posteriors
    teachers = [run.needs for run in runs] if any(run.needs for run in runs) else None
    epochs = {}
    for epoch in files[0]:
        log_p = [read_log_probabilities(of_run[epoch]) for of_run in files]
        found = decompose(log_p, target, teachers)
        epochs[epoch] = found.totals()
    over_samples = resample_samples(found)
    over_models = resample_models(log_p, target) if len(runs) >= MIN_MODELS else None
    accuracies = [result.last_accuracy for result in results]
    return Finding(
        str(method), method.name, method.tau, len(runs), len(labels), (mean(accuracies), stdev(accuracies)), epochs,
        _intervals(over_samples), _intervals(over_models) if over_models else None, None,
        None, None,
        None if posteriors is None else float(entropy(posteriors).mean()), found.notes,
        tuple(sorted({result.machine for result in results})),
        None if teachers is None else len(set(teachers))), (over_samples, over_models)


def _intervals(draws: Draws) -> Intervals:
    return {quantity: interval(draws[quantity]) for quantity in QUANTITIES}


def _difference(one: tuple[dict[str, float], Draws, Draws | None],
                other: tuple[dict[str, float], Draws, Draws | None]) -> dict[str, Any]:
    def minus(first: Draws, second: Draws) -> Draws:
        return {quantity: first[quantity] - second[quantity] for quantity in QUANTITIES}
    return dict({quantity: one[0][quantity] - other[0][quantity] for quantity in QUANTITIES},
                over_samples=_intervals(minus(one[1], other[1])),
                over_models=_intervals(minus(one[2], other[2])) if one[2] and other[2] else None)
