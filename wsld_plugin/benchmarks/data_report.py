"""The comparison of pipelines as text."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsld_plugin.files import write_atomically
from wsld_plugin.studies.table import aligned_table


def markdown(report: Mapping[str, Any]) -> str:
    """What :func:`wsld_plugin.benchmarks.data.compare_pipelines` returns: header, table and what its columns mean."""
    cells = [['pipeline', 'ms an image', 'img/s a core', 'times as fast', 'quartiles', 'predicted', 'images changed',
              'by, grey levels']]
    for row in report['rows']:
        lower, middle, upper = row['ratio']
        cells.append([row['name'], f'{1000 * row["median"] / report["images"]:.3f}',
                      f'{row["items_per_second"]:.0f}', f'{1 / middle:.3f}', f'{1 / upper:.3f} … {1 / lower:.3f}',
                      f'{1 / row["predicted_ratio"]:.3f}', f'{100 * row["changed"]:.1f} %',
                      f'{row["difference"]:.2f}' if row['changed'] else ''])
    versions = ', '.join(f'{name} {version}' for name, version in report['versions'].items())
    threads = f'{report["threads"]} thread' + 's' * (report['threads'] != 1)
    load = '' if report['load'] is None else f', load average {report["load"]} before it'
    return '\n'.join([
        f'{report["date"]}, {report["machine"]}, {threads}{load}; {versions}.',
        f'{report["images"]} images through the training pipeline of {report["config"]}; '
        f'{report["pairs"]} rounds after {report["warmup"]} to warm up.',
        f'`{report["command"]}`', '', aligned_table(cells), '',
        f'Medians of {"time" if report["clock"] == "wall" else "processor time, all threads"}. "Times as fast" is '
        'taken within one round, in which every pipeline makes the same crops. "Predicted" counts decoding alone, '
        'from the times of whole and of 1/8 decodes and the boxes that are drawn.'])


def tell(report: Mapping[str, Any], out: str | Path | None = None) -> None:
    """Print a report as Markdown, and write it as JSON where ``out`` names a file."""
    print(markdown(report))
    if out is not None:
        write_atomically(out, (json.dumps(report, indent=1) + '\n').encode())
        print(f'\nWritten: {out}')
