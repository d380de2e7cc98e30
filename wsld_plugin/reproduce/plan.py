"""Plans: which configs, over which seeds, make a table, and what was published for each of its cells."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsld_plugin.config.load import find_config, read_config
from wsld_plugin.errors import ConfigError, check_choice, did_you_mean

from .expand import Expansion
from .runs import Run

_KEYS = {'title', 'seeds', 'teachers', 'report', 'options', 'rows'}
_TEACHER = 'teacher'  # the method of a cell that holds only the networks that teach the others
_CELL_KEYS = {'method', 'config', 'options', 'published', 'source'}


@dataclass(frozen=True)
class Cell:
    """One method in one row of a table: the config that trains it, and what others report."""

    row: str
    method: str
    config: Path
    options: tuple[tuple[str, Any], ...] = ()
    published: float | None = None
    source: str = ''

    def __str__(self) -> str:
        return f'{self.row}: {self.method}'


@dataclass(frozen=True)
class Plan:
    """A table that is to be filled.

    Args:
        name: of the plan's file.
        title: what the table is about.
        seeds: of every cell.
        teachers: how many each row has; the run of the i-th seed learns from the one of the (i mod teachers)-th
            seed, and cells of the method ``'teacher'`` have that many runs. None: one a seed.
        report: which accuracy the published figures are: of the ``'last'`` or the ``'best'`` epoch.
        options: what replaces settings of every config, teachers' included; dotted keys.
        cells: row by row.
    """

    name: str
    title: str
    seeds: tuple[int, ...]
    teachers: int | None
    report: str
    options: tuple[tuple[str, Any], ...]
    cells: tuple[Cell, ...]

    def runs(self, work_dir: Path, check_files: bool = True) -> dict[Cell, list[Run]]:
        """The runs of every cell, one a seed. Their teachers' runs are what they need.

        A checkpoint that a config expects at ``work_dirs/<name>/…`` is trained from the config of that name,
        with the same seed, or the one that ``teachers`` gives. Runs of equal config,
        options and seed are one, whatever their cells and plans.

        Args:
            work_dir: the folder that holds a folder for each run.
            check_files: whether data and checkpoints that no config trains must be there.

        Raises:
            ConfigError: a config that does not exist or asks for what does not exist; a missing file.
        """
        expand = Expansion(work_dir, dict(self.options), check_files)
        taught_by = {seed: self.seeds[number % (self.teachers or len(self.seeds))]
                     for number, seed in enumerate(self.seeds)}
        return {cell: [expand.run(cell.config, dict(cell.options), seed, teacher)
                       for seed, teacher in taught_by.items() if cell.method != _TEACHER or seed == teacher]
                for cell in self.cells}


def load_plan(path: str | Path, *, seeds: Iterable[int] | None = None, rows: Iterable[str] | None = None,
              methods: Iterable[str] | None = None, options: Mapping[str, Any] | None = None) -> Plan:
    """Read a plan: a Python config with ``title``, ``seeds``, ``teachers``, ``report``, ``options`` and ``rows``.

    Args:
        path: the plan's file. The configs in it are named relative to its folder.
        seeds: in place of the plan's.
        rows: of the plan's rows only these; ``->`` stands for an arrow.
        methods: of the plan's methods only these.
        options: beside the plan's own, and in place of the same ones of it and of its cells; for shorter runs.

    Raises:
        ConfigError: an unknown key, row, method or config; a seed, row or method twice; nothing to do.
    """
    path = find_config(path)
    cfg = read_config(path)
    if not cfg.get('rows'):
        raise ConfigError(f'{path} is no plan of a table: it has no rows. A config trains with tools/train.py, a '
                          'plan of bias and variance with tools/bias_variance.py.')
    check_keys(cfg, f'{path}: a plan')
    rows = None if rows is None else [row.replace('->', '→') for row in rows]
    report = cfg.get('report', 'last')
    check_choice(f'{path}: report', report, ('last', 'best'))
    seeds = tuple(cfg.get('seeds', ()) if seeds is None else seeds)
    for seed in seeds:
        if not isinstance(seed, int) or seed < 0:
            raise ConfigError(f'{path}: seed {seed!r}, expected a whole number from 0 up.')
    _check_once(seeds, f'{path}: seed')
    teachers = cfg.get('teachers')
    if teachers is not None and (type(teachers) is not int or teachers < 1):
        raise ConfigError(f'{path}: teachers={teachers!r}, expected a whole number from 1 up, or None: one a seed.')
    for number, row in enumerate(cfg.rows):
        _check_has(row, ('name', 'cells'), f'{path}: row {number}')
    _check_once([row['name'] for row in cfg.rows], f'{path}: row')
    cells = [cell for row in cfg.rows for cell in _cells(path, row, options)]
    for chosen, known, what in ((rows, [cell.row for cell in cells], 'row'),
                                (methods, [cell.method for cell in cells], 'method')):
        _check_known(chosen, known, f'{path}: {what}')
    cells = [cell for cell in cells if (rows is None or cell.row in rows)
             and (methods is None or cell.method in methods)]
    if not cells or not seeds:
        raise ConfigError(f'{path}: nothing is to be done: {len(cells)} cells, {len(seeds)} seeds.')
    return Plan(path.stem, cfg.get('title', path.stem), seeds, teachers, report,
                tuple({**cfg.get('options', {}), **(options or {})}.items()), tuple(cells))


def overridden(own: Mapping[str, Any], given: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    """The options of one cell of a plan, with those that were given in the place of the same ones of its own.

    >>> overridden({'a': 1, 'b': 2}, {'b': 3, 'c': 4})
    (('a', 1), ('b', 3))
    """
    return tuple({key: (given or {}).get(key, value) for key, value in own.items()}.items())


def _cells(path: Path, row: Mapping[str, Any], options: Mapping[str, Any] | None) -> Iterator[Cell]:
    for cell in row['cells']:
        check_keys(cell, f'{path}, row {row["name"]!r}: a cell', _CELL_KEYS)
        _check_has(cell, ('method', 'config'), f'{path}, row {row["name"]!r}: a cell')
        try:
            config = find_config(cell['config'], relative_to=path.parent).resolve()
        except ConfigError as error:
            raise ConfigError(f'{path}, row {row["name"]!r}, {cell["method"]!r}: {error}') from None
        yield Cell(row['name'], cell['method'], config, overridden(cell.get('options', {}), options),
                   cell.get('published'), cell.get('source', ''))
    _check_once([cell['method'] for cell in row['cells']], f'{path}, row {row["name"]!r}: method')


def check_keys(given: Iterable[Any], what: str, known: Collection[str] = _KEYS) -> None:
    """Raise ConfigError for a key that is not known, but for variables of a plan's own, ``_name``."""
    for key in map(str, given):
        if key not in known and not key.startswith('_'):
            raise ConfigError(f'{what} takes no {key!r}.{did_you_mean(key, known)}')


def _check_has(given: Mapping[str, Any], keys: tuple[str, str], what: str) -> None:
    if not all(given.get(key) for key in keys):
        raise ConfigError(f'{what} needs a {keys[0]} and {"cells" if keys[1] == "cells" else "a " + keys[1]}.')


def _check_once(values: Iterable[Any], what: str) -> None:
    values = list(values)
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise ConfigError(f'{what} {twice!r} is there twice.')


def _check_known(chosen: Iterable[str] | None, known: list[str], what: str) -> None:
    for name in chosen or ():
        if name not in known:
            raise ConfigError(f'{what} {name!r} is not there; it has {", ".join(map(repr, dict.fromkeys(known)))}.'
                              + did_you_mean(name, known))
