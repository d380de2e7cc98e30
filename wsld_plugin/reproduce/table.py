"""Filling a paper's table: train what is missing, then write what came out beside what was published."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from wsld_plugin.files import write_atomically

from .missing import check_none_failed, train_missing
from .plan import Cell, Plan
from .report import Line, as_json, machines, markdown_table, summarise
from .runs import Result, Run, finished


def reproduce(plan: Plan, work_dir: Path, jobs: int) -> list[Line]:
    """Train what a plan lacks and write its table.

    Runs lie in ``<work_dir>/<config>/seed<n>/``, shared by all plans; a finished one is not repeated, an
    interrupted one goes on. The table is written to ``<work_dir>/<plan>.md``, ``.json`` and ``.png`` also when
    runs failed, with what is there.

    Args:
        plan: what is wanted.
        work_dir: the folder of all runs.
        jobs: runs side by side, ≥ 1.

    Returns:
        The lines of the table.

    Raises:
        ConfigError: before anything is trained, for whatever the plan's configs get wrong.
        RunError: when all is over, if runs failed.
    """
    runs = plan.runs(work_dir)
    errors = train_missing(plan.title, runs.values(), work_dir, jobs)
    lines = write_report(plan, work_dir, runs)
    check_none_failed(errors)
    return lines


def write_report(plan: Plan, work_dir: Path, runs: Mapping[Cell, Sequence[Run]]) -> list[Line]:
    """Write the table of what is finished; see :func:`reproduce`."""
    from .plot import plot_lines  # matplotlib is not needed to train
    results: dict[Cell, list[Result | None]] = {cell: [finished(run) for run in of_cell]
                                                for cell, of_cell in runs.items()}
    lines = summarise(results)
    settings = ''.join(f'{key}={value}\n' for key, value in plan.options)
    settings = f'\n\nWith these settings in place of the configs\':\n\n{settings}'.rstrip() if settings else ''
    text = f'{plan.title}{settings}\n\n{markdown_table(lines, plan.report)}\n\n' + '\n'.join(machines(results))
    base = work_dir / plan.name
    write_atomically(base.with_suffix('.md'), (text + '\n').encode())
    write_atomically(base.with_suffix('.json'), (json.dumps(as_json(plan, lines, results), indent=1) + '\n').encode())
    plot_lines(base.with_suffix('.png'), lines, plan.title, plan.report)
    print(f'\n{text}\n\nWritten: {base}.md, {base}.json, {base}.png')
    return lines
