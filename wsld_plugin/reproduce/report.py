"""Results over seeds as rows, beside what was published."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev

from .plan import Cell, Plan
from .runs import Result

NOT_RUN = 'not run'


@dataclass(frozen=True)
class Score:
    """Top-1 accuracies in percent, one a seed, with their mean and sample standard deviation (n − 1).

    ``std`` is None for a single run.
    """

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
    """One cell of a table: ours of the last and of the best epoch, and the published figure.

    ``last`` and ``best`` are None where nothing was run; ``missing`` counts seeds without a result.
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


def summarise(results: Mapping[Cell, Sequence[Result | None]]) -> list[Line]:
    """A line for each cell from the results of its seeds; None is a seed that has none."""
    return [_line(cell, [result for result in of_cell if result], len(of_cell))
            for cell, of_cell in results.items()]


def _line(cell: Cell, results: Sequence[Result], seeds: int) -> Line:
    seconds = [result.seconds for result in results if result.seconds is not None]
    last = Score.of([result.last_accuracy for result in results]) if results else None
    best = Score.of([result.best_accuracy for result in results]) if results else None
    return Line(cell.row, cell.method, last, best, len(results), seeds - len(results),
                mean(seconds) if seconds else None, cell.published, cell.source)


def markdown_table(lines: Sequence[Line], report: str = 'last') -> str:
    """The lines as an aligned Markdown table, the sources of the published figures below it.

    Args:
        lines: of the table.
        report: which epoch's accuracy the published figures are, ``'last'`` or ``'best'``.
    """
    sources = list(dict.fromkeys(line.source for line in lines if line.published is not None and line.source))
    header = ['', 'method', 'last epoch, %', 'best epoch, %', 'n', 'time a run, s']
    published = any(line.published is not None for line in lines)
    cells = [tuple(header + [f'published, {report} epoch, %'] * published)]
    for number, line in enumerate(lines):
        name = line.row if number == 0 or lines[number - 1].row != line.row else ''
        ours = [str(line.last), str(line.best), str(line.n)] if line.n else [NOT_RUN, NOT_RUN, '0']
        seconds = '' if line.seconds_mean is None else f'{line.seconds_mean:.0f}'
        cells.append(tuple([name, line.method, *ours, seconds] + [_published(line, sources)] * published))
    notes = [f'[{number}] {source}' for number, source in enumerate(sources, start=1)]
    return '\n'.join([aligned_table(cells), *([''] if notes else []), *notes])


def as_json(plan: Plan, lines: Sequence[Line], results: Mapping[Cell, Sequence[Result | None]]) -> dict:
    """The table and what it was made from, as plain data."""
    return dict(
        plan=plan.name, title=plan.title, report=plan.report, seeds=list(plan.seeds), options=dict(plan.options),
        machines=machines(results), lines=[asdict(line) for line in lines],
        curves=[dict(row=cell.row, method=cell.method, seed=result.seed, accuracy=result.curve)
                for cell, of_cell in results.items() for result in of_cell if result])


def machines(results: Mapping[Cell, Sequence[Result | None]]) -> list[str]:
    """On what the results were made."""
    return sorted({result.machine for of_cell in results.values() for result in of_cell if result})


def _published(line: Line, sources: list[str]) -> str:
    if line.published is None:
        return ''
    return f'{line.published:.2f}' + (f' [{sources.index(line.source) + 1}]' if line.source else '')


def aligned_table(cells: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the header first, as a Markdown table whose columns are of one width in plain text too."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + ' |'
             for line in cells]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(lines)
