"""From finished runs to bias and variance."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np

from wsld_plugin.analysis.bias_variance import decompose, entropy, split_variance
from wsld_plugin.analysis.bias_variance_bootstrap import (
    MIN_MODELS,
    QUANTITIES,
    Draws,
    interval,
    resample_models,
    resample_samples,
)
from wsld_plugin.errors import RunError
from wsld_plugin.reproduce.runs import Result, Run, finished

from .plan import Method, Plan
from .predictions import read_epochs, read_target

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
        over_models: and over the models; None below `MIN_MODELS` models.
        difference: from the first method, the last epoch of each: totals, with paired intervals of both kinds.
        within, between: the variance between data sets and between teachers, where several students share a teacher.
        irreducible: entropy of the true posterior, where it is known; error and bias are then without it.
        notes: a sentence each.
        machines: on what it was trained.
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

    @property
    def last(self) -> dict[str, float]:
        """Totals of the last epoch."""
        return self.epochs[max(self.epochs)]


def measure(plan: Plan, runs: Mapping[Method, Sequence[Run]]) -> tuple[list[Finding], list[str]]:
    """A finding for each method whose runs are all finished, and a sentence for each that is left out.

    Raises:
        RunError: runs that do not fit each other: other test samples, or other epochs.
    """
    findings: list[Finding] = []
    left_out: list[str] = []
    first: tuple[dict[str, float], Draws, Draws | None] | None = None
    for method, of_method in runs.items():
        results = [result for result in map(finished, of_method) if result]
        if len(results) < len(of_method):
            left_out.append(f'{method}: left out, {len(results)} of {len(of_method)} runs are finished.')
            continue
        finding, draws = _measure(plan, method, of_method, results)
        if first is None and method == plan.methods[0]:
            first = (finding.last, *draws)
        elif first is not None:
            finding = Finding(**{**vars(finding), 'difference': _difference((finding.last, *draws), first)})
        findings.append(finding)
    return findings, left_out


def _measure(plan: Plan, method: Method, runs: Sequence[Run], results: Sequence[Result],
             ) -> tuple[Finding, tuple[Draws, Draws | None]]:
    by_run = [read_epochs(run.work_dir) for run in runs]
    labels, posteriors = read_target(runs[0].work_dir)
    for run, epochs in zip(runs, by_run, strict=True):
        if epochs.keys() != by_run[0].keys():
            raise RunError(f'{run.work_dir} has predictions of the epochs {list(epochs)}, {runs[0].work_dir} of '
                           f'{list(by_run[0])}.')
        if not np.array_equal(read_target(run.work_dir)[0], labels):
            raise RunError(f'{run.work_dir} and {runs[0].work_dir} were validated on different samples.')
    target = labels if posteriors is None else posteriors
    models = {epoch: np.stack([epochs[epoch] for epochs in by_run]) for epoch in by_run[0]}
    decomposed = {epoch: decompose(log_p, target) for epoch, log_p in models.items()}
    last = models[max(models)]
    over_samples = resample_samples(decomposed[max(models)])
    over_models = resample_models(last, target) if len(runs) >= MIN_MODELS else None
    within = between = None
    teachers = plan.teachers
    if runs[0].needs and method.teacher == 'all' and teachers > 1 and len(runs) % teachers == 0 \
            and len(runs) > teachers:
        # model m has teacher m mod T
        within, between = (float(part.mean()) for part in
                           split_variance([last[teacher::teachers] for teacher in range(teachers)]))
    accuracies = [result.last_accuracy for result in results]
    return Finding(
        str(method), method.name, method.tau, len(runs), len(labels), (mean(accuracies), stdev(accuracies)),
        {epoch: each.totals() for epoch, each in decomposed.items()}, _intervals(over_samples),
        _intervals(over_models) if over_models else None, None, within, between,
        None if posteriors is None else float(entropy(posteriors).mean()), decomposed[max(models)].notes,
        tuple(sorted({result.machine for result in results}))), (over_samples, over_models)


def _intervals(draws: Draws) -> Intervals:
    return {quantity: interval(draws[quantity]) for quantity in QUANTITIES}


def _difference(one: tuple[dict[str, float], Draws, Draws | None],
                other: tuple[dict[str, float], Draws, Draws | None]) -> dict[str, Any]:
    def minus(first: Draws, second: Draws) -> Draws:
        return {quantity: first[quantity] - second[quantity] for quantity in QUANTITIES}
    return dict({quantity: one[0][quantity] - other[0][quantity] for quantity in QUANTITIES},
                over_samples=_intervals(minus(one[1], other[1])),
                over_models=_intervals(minus(one[2], other[2])) if one[2] and other[2] else None)
