"""On what a benchmark was run, and what came out, as Markdown and as plain data."""
from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import mmengine
import mmpretrain
import mmrazor
import torch

from wsld_plugin.studies.runs import machine
from wsld_plugin.studies.table import aligned_table
from wsld_plugin.version import __version__

from .timing import Comparison

_NO_MEMORY = 'Memory is measured on CUDA devices only.'


def header(**settings: Any) -> dict[str, Any]:
    """When and on what: date, machine, load, threads, versions and command; ``settings`` beside them.

    ``load`` is what else the machine does: its average of the last minute, in processes, or None where the system
    does not tell. Call it before the measurement, which adds its own.
    """
    return dict(date=date.today().isoformat(), machine=machine(), threads=torch.get_num_threads(),
                load=round(os.getloadavg()[0], 1) if hasattr(os, 'getloadavg') else None,
                versions=dict(mmengine=mmengine.__version__, mmpretrain=mmpretrain.__version__,
                              mmrazor=mmrazor.__version__, wsld_plugin=__version__),
                command=shlex.join(['python', _from_here(sys.argv[0]), *sys.argv[1:]]), **settings)


def as_json(head: Mapping[str, Any], rows: Sequence[Comparison], items: int,
            memory: Mapping[str, int | None]) -> dict[str, Any]:
    """The report as plain data.

    Args:
        head: see :func:`header`.
        rows: the first is what the others are compared with.
        items: images in one step; per second of the clock that ``head`` names.
        memory: bytes by the rows' names; None or absent: not measured.
    """
    return dict(head, rows=[dict(asdict(row), items_per_second=items / row.median,
                                 peak_extra_bytes=memory.get(row.name)) for row in rows])


def markdown(report: Mapping[str, Any]) -> str:
    """What :func:`as_json` returns as text: the header, an aligned table and what its columns mean."""
    rows = report['rows']
    with_memory = any(row['peak_extra_bytes'] is not None for row in rows)
    wall = report['clock'] == 'wall'
    cells = [['', 'step, ms', *['img/s'] * wall, 'ratio to the first', 'quartiles', *['memory, MB'] * with_memory]]
    for row in rows:
        lower, middle, upper = row['ratio']
        cells.append([row['name'], f'{1000 * row["median"]:.2f}', *[f'{row["items_per_second"]:.0f}'] * wall,
                      f'{middle:.3f}', f'{lower:.3f} … {upper:.3f}',
                      *[megabytes(row['peak_extra_bytes'])] * with_memory])
    notes = [f'Medians of {"time" if wall else "processor time, all threads"}. '
             'A ratio is taken within one round, in which every config takes one step.'
             + ('' if with_memory else ' ' + _NO_MEMORY)]
    if with_memory:
        notes.append('Memory: the peak of one step beside weights and optimizer state.')
    return '\n'.join([*head_lines(report), '', aligned_table(cells), '', *notes])


def head_lines(report: Mapping[str, Any]) -> list[str]:
    """The header as text: machine and versions, sizes, command."""
    return [machine_line(report),
            f'Batches of {report["batch_size"]} images of {report["image_size"]} × {report["image_size"]} pixels; '
            f'{report["pairs"]} rounds after {report["warmup"]} to warm up.',
            f'`{report["command"]}`']


def machine_line(report: Mapping[str, Any]) -> str:
    """When and on what, in one line."""
    versions = ', '.join(f'{name} {version}' for name, version in report['versions'].items())
    threads = f'{report["threads"]} thread' + 's' * (report['threads'] != 1)
    load = '' if report['load'] is None else f', load average {report["load"]} before it'
    return f'{report["date"]}, {report["machine"]}, {threads}{load}; {versions}.'


def megabytes(count: int | None) -> str:
    """Bytes as megabytes with one digit; nothing where they were not measured."""
    return '' if count is None else f'{count / 1e6:.1f}'


def _from_here(path: str) -> str:
    here = os.path.relpath(path)
    return path if here.startswith('..') else Path(here).as_posix()
