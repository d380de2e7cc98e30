"""The ladder of a distillation step as Markdown and as plain data."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from wsld_plugin.studies.table import aligned_table

from .ladder import Rung, left_out
from .report import head_lines, megabytes
from .timing import compare


def ladder_report(head: Mapping[str, Any], ladder: Sequence[Rung], seconds: Mapping[str, Sequence[float]],
                  losses: Mapping[str, Mapping[str, float]], memory: Mapping[str, int | None]) -> dict[str, Any]:
    """The report as plain data.

    ``speedup`` is lower quartile, median and upper quartile of the first rung's seconds by the rung's own in the
    same round, ``gain`` the same against the rung before; both are dimensionless, above 1 is faster.
    ``loss_difference`` is relative to the first rung's total loss.
    """
    first = ladder[0].name
    rows = []
    for index, rung in enumerate(ladder):
        before = ladder[max(index - 1, 0)].name
        middle = median(seconds[rung.name])
        rows.append(dict(
            name=rung.name, seconds=list(seconds[rung.name]), median=middle,
            items_per_second=head['batch_size'] / middle,
            speedup=_faster(seconds, rung.name, first), gain=_faster(seconds, rung.name, before),
            predicted_gain=rung.predicted,
            loss_difference=None if rung.tolerance is None else
            abs(losses[rung.name]['loss'] / losses[first]['loss'] - 1),
            peak_extra_bytes=memory.get(rung.name)))
    return dict(head, rows=rows, left_out=left_out([rung.name for rung in ladder]))


def _faster(seconds: Mapping[str, Sequence[float]], name: str, than: str) -> tuple[float, float, float]:
    # two rows even where a rung is compared with itself
    return compare({'own': seconds[name], 'other': seconds[than]})[1].ratio


def ladder_markdown(report: Mapping[str, Any]) -> str:
    """What :func:`ladder_report` returns as text."""
    with_memory = any(row['peak_extra_bytes'] is not None for row in report['rows'])
    cells = [['', 'step, ms', 'img/s', '× the first', 'quartiles', '× the one before', 'predicted',
              'loss differs by', *['memory, MB'] * with_memory]]
    for row in report['rows']:
        lower, middle, upper = row['speedup']
        cells.append([row['name'], f'{1000 * row["median"]:.1f}', f'{row["items_per_second"]:.1f}', f'{middle:.2f}',
                      f'{lower:.2f} … {upper:.2f}', f'{row["gain"][1]:.2f}', row['predicted_gain'],
                      '' if row['loss_difference'] is None else f'{row["loss_difference"]:.0e}',
                      *[megabytes(row['peak_extra_bytes'])] * with_memory])
    return '\n'.join([*head_lines(report), '', aligned_table(cells), '',
                      'Medians of time; factors are medians of ratios within a round, in which every rung takes one '
                      'step. Above 1 is faster.', *report['left_out']])
