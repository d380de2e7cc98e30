"""Bias and variance of methods as tables, JSON and a picture."""
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from wsld_plugin.analysis.bias_variance import MIN_MODELS, QUANTITIES
from wsld_plugin.files import write_atomically
from wsld_plugin.reproduce.report import aligned_table

from .measure import Finding, Intervals
from .plan import Plan


def write_findings(plan: Plan, work_dir: Path, findings: Sequence[Finding], left_out: Sequence[str]) -> None:
    """Write ``<work_dir>/<plan>.md``, ``.json`` and ``.png``, and print the tables."""
    from wsld_plugin.analysis.plots import plot_bias_variance  # matplotlib is not needed to train

    text = '\n\n'.join([plan.title, *tables(plan, findings), '\n'.join(left_out)]).strip()
    base = work_dir / f'{plan.name}_bias_variance'
    write_atomically(base.with_suffix('.md'), (text + '\n').encode())
    content = dict(plan=plan.name, title=plan.title, models=plan.models, parts=plan.parts, size=plan.size,
                   teachers=plan.teachers, options=dict(plan.options), left_out=list(left_out),
                   findings=[asdict(finding) for finding in findings])
    write_atomically(base.with_suffix('.json'), (json.dumps(content, indent=1) + '\n').encode())
    rows = _rows(findings)
    if rows:
        plot_bias_variance(base.with_suffix('.png'), rows, f'{plan.title}, {plan.models} models')
    print(f'\n{text}\n\nWritten: {base}.md, .json' + (', .png' if rows else ''))


def tables(plan: Plan, findings: Sequence[Finding]) -> list[str]:
    """Paragraphs: each method's error, bias and variance, their difference from the first, and on what they rest.

    Args:
        plan: what is compared.
        findings: one or more.
    """
    cells = [['', 'error', 'bias', 'variance', 'top-1, %']]
    for finding in findings:
        cells.append([finding.method, *(_cell(finding.last[quantity], finding.over_samples[quantity])
                                        for quantity in QUANTITIES), '{:.2f} ± {:.2f}'.format(*finding.accuracy)])
    one = findings[0]
    split = [finding for finding in findings if finding.within is not None]
    known = one.irreducible is not None
    paragraphs = [aligned_table(cells), (
        f'Nats per test sample, the last epoch, M = {one.models} models on disjoint parts, N = {one.samples} test '
        'samples. In brackets: 95 % bootstrap over the test samples. Variance times M/(M−1); bias is error less '
        'variance. Top-1: mean ± standard deviation over the models.'
        + (f' Error and bias are against the true posterior; its entropy, {one.irreducible:.4f}, comes to the cross '
           'entropy with labels on top.' if known else ''))]
    compared = [finding for finding in findings if finding.difference]
    if compared:
        cells = [['less those of ' + str(plan.methods[0]), 'error', 'bias', 'variance']]
        for finding in compared:
            assert finding.difference is not None
            kinds = [kind for kind in (finding.difference['over_samples'], finding.difference['over_models']) if kind]
            cells.append([finding.method, *(_cell(finding.difference[quantity], *(kind[quantity] for kind in kinds))
                                            for quantity in QUANTITIES)])
        over = 'over the test samples; over the models' if one.over_models else \
            f'over the test samples; fewer than {MIN_MODELS} models are not resampled'
        paragraphs += [aligned_table(cells), f'In brackets: 95 % bootstrap, paired, {over}.']
    if split:
        cells = [['variance', 'between data sets', 'between teachers', 'sum']]
        cells += [[finding.method, f'{finding.within:.3f}', f'{finding.between:.3f}',
                   f'{(finding.within or 0) + (finding.between or 0):.3f}'] for finding in split]
        of_each = ' and '.join(str(len(range(teacher, plan.models, plan.teachers)))
                               for teacher in range(plan.teachers))
        paragraphs += [aligned_table(cells), (
            f'Without bias, but rough: {plan.teachers} teachers of {of_each} students; the part between teachers may '
            'come out below zero. Initial weights and order count with the data sets.')]
    of_note: dict[str, list[str]] = {}
    for finding in findings:
        for note in finding.notes:
            of_note.setdefault(note, []).append(finding.method)
    paragraphs += ['\n'.join(f'{"; ".join(methods)}: {note}' for note, methods in of_note.items()),
                   '\n'.join(sorted({machine for finding in findings for machine in finding.machines}))]
    return [paragraph for paragraph in paragraphs if paragraph]


def _cell(value: float, *intervals: tuple[float, float]) -> str:
    return f'{value:.3f} ' + ' '.join(f'[{low:.3f}, {high:.3f}]' for low, high in intervals)


def _rows(findings: Sequence[Finding]) -> dict:
    from wsld_plugin.analysis.plots import Series

    rows = {}
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.group, []).append(finding)
    if any(finding.tau is not None for finding in findings):
        rows['τ'] = [_against_tau(group, members) for group, members in groups.items()]
    if any(len(finding.epochs) > 1 for finding in findings):
        rows['epoch'] = [Series(finding.method, list(finding.epochs), {
            quantity: [totals[quantity] for totals in finding.epochs.values()] for quantity in QUANTITIES})
            for finding in findings]
    return rows


def _against_tau(group: str, members: Sequence[Finding]):
    from wsld_plugin.analysis.plots import Series

    values = {quantity: [finding.last[quantity] for finding in members] for quantity in QUANTITIES}
    if members[0].tau is None:
        return Series(group, None, values)
    kinds: list[Intervals] = [finding.over_models or finding.over_samples for finding in members]
    return Series(group, [finding.tau or 0. for finding in members], values,
                  {quantity: [kind[quantity] for kind in kinds] for quantity in QUANTITIES})
