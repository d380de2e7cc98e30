"""The comparison of losses as text."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsld_plugin.files import write_atomically
from wsld_plugin.studies.table import aligned_table


def markdown(report: Mapping[str, Any]) -> str:
    """What :func:`wsld_plugin.benchmarks.loss.compare_losses` returns: header, tables and what their columns mean."""
    versions = ', '.join(f'{name} {version}' for name, version in report['versions'].items())
    threads = f'{report["threads"]} thread' + 's' * (report['threads'] != 1)
    load = '' if report['load'] is None else f', load average {report["load"]} before it'
    clock = 'time' if report['clock'] == 'wall' else 'processor time, all threads'
    return '\n'.join([
        f'{report["date"]}, {report["machine"]}, {threads}{load}; {versions}.',
        f'Logits of {report["dtype"]} on {report["device"]}, τ = {report["tau"]:g}; {report["pairs"]} rounds after '
        f'{report["warmup"]} to warm up.',
        f'`{report["command"]}`', '', *[line for table in report['tables'] for line in _table(table)],
        f'Value and gradient; medians of {clock}. "Times as fast" is taken within one round, in which every variant '
        'runs once; "predicted" is what it would be if bytes moved were all that takes time. Bytes: what goes into '
        'and comes out of each operation; u is one tensor of logits. Memory: the peak beside the logits and the '
        'labels, the gradient included. Error: from float64, of the value or of the gradient, each relative to the '
        'largest.'])


def tell(report: Mapping[str, Any], out: str | Path | None = None) -> None:
    """Print a report as Markdown, and write it as JSON where ``out`` names a file."""
    print(markdown(report))
    if out is not None:
        write_atomically(out, (json.dumps(report, indent=1) + '\n').encode())
        print(f'\nWritten: {out}')


def _table(table: Mapping[str, Any]) -> list[str]:
    n, c = table['shape']
    cells = [[f'{table["loss"]}, ({n}, {c})', 'ms', 'times as fast', 'quartiles', 'predicted', 'operations',
              'bytes, u', 'memory, u', 'memory, MB', 'error']]
    for row in table['rows']:
        lower, middle, upper = row['ratio']
        counted = row['bytes'] is not None
        cells.append([row['name'], f'{1000 * row["median"]:.3f}', f'{1 / middle:.2f}',
                      f'{1 / upper:.2f} … {1 / lower:.2f}', f'{1 / row["predicted_ratio"]:.2f}' if counted else '',
                      f'{row["operations"]}' if counted else '',
                      f'{row["bytes"] / table["unit"]:.1f}' if counted else '',
                      f'{row["peak_extra_bytes"] / table["unit"]:.2f}', f'{row["peak_extra_bytes"] / 1e6:.1f}',
                      f'{max(row["value_error"], row["gradient_error"]):.0e}'])
    return [aligned_table(cells), '']
