"""Plans: the cells of a table, with the runs of each over seeds or over disjoint parts of the training set."""
from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from wsld_plugin.config.check import check_config, check_data, check_teacher
from wsld_plugin.config.load import find_config, load_config, read_config
from wsld_plugin.errors import ConfigError, check_choice, check_integer, check_number, did_you_mean, short
from wsld_plugin.hooks.predictions import BY_EPOCH

from .runs import Run

_KEYS = ('title', 'seeds', 'parts', 'size', 'models', 'teachers', 'every', 'options', 'rows')
_CELL_KEYS = ('method', 'config', 'options', 'published', 'source', 'epoch', 'tau', 'teacher')
# The types of values and of their items, for `_check_values`; other keys have texts.
_TYPES: dict[str, tuple[Any, Any, str]] = dict(
    rows=((list, tuple), Mapping, "a list of one or more dict(name='<row>', cells=[…])"),
    cells=((list, tuple), Mapping, "a list of one or more dict(method='KD', config='<path>')"),
    options=(Mapping, str, "a dict of dotted keys: {'train_cfg.max_epochs': 100}"))
_FEWEST = 2  # images of a part: batch normalisation cannot train on one
# A checkpoint that another config trains: work_dirs/<name of the config>/<file>
_TRAINED = re.compile(r'^work_dirs/([^/]+)/((?:student|model)_(?:last|best)\.pth)$')


@dataclass(frozen=True)
class Cell:
    """One method in one row of a table.

    Args:
        row, method: names; a method is unique in its row.
        config: path of the config that trains it.
        options: dotted keys and values that replace those of the config, but not its teacher's.
        published, source, epoch: top-1 accuracy in percent, its source and epoch, ``'last'`` or ``'best'``.
        tau: the temperature, for the picture of bias and variance only.
        teacher: with parts, the images that the teacher is trained on: ``'all'``, or ``'part'``, the student's part.
    """

    row: str
    method: str
    config: Path
    options: tuple[tuple[str, Any], ...] = field(default=(), hash=False)  # a value may be a list
    published: float | None = None
    source: str = ''
    epoch: str = 'last'
    tau: float | None = None
    teacher: str = 'all'

    def __str__(self) -> str:
        return f'{self.row}: {self.method}'


@dataclass(frozen=True)
class Plan:
    """A table: rows of cells, and the runs of each cell.

    Args:
        name, title, cells: name of the plan's file, title of the table, and its cells row by row.
        seeds: of the runs of every cell. With ``parts``: the numbers of the parts, one run for each.
        teachers: T: the i-th run learns from the teacher of the (i mod T)-th seed, and cells of the method
            ``'teacher'`` have T runs. None: each run has its own teacher.
        options: dotted keys and values that replace those of every config, teachers' included.
        parts, size: disjoint parts of the training set, one for each run, and images used of each. None: all images.
        every: epochs between two validations; None: as in the configs.
    """

    name: str
    title: str
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    teachers: int | None = None
    options: tuple[tuple[str, Any], ...] = ()
    parts: int | None = None
    size: int | None = None
    every: int | None = None

    def runs(self, work_dir: Path, check_files: bool = True) -> dict[Cell, list[Run]]:
        """The runs of every cell, one for each seed or part, in folders in ``work_dir``.

        A checkpoint that a config expects at ``work_dirs/<name>/…`` is trained from the config of that name. Runs of
        equal config, options and seed are one run, in all cells and plans. With parts, the seed chooses the part,
        the initial weights and the order. ``check_files`` looks for data, and checkpoints that no config trains.

        Raises:
            ConfigError: an invalid config; a missing file; with parts, a config that trains by iteration, or a
                training set with too few images.
        """
        common = dict(self.options)
        if self.every is not None:
            common.setdefault('train_cfg.val_interval', self.every)
        part = {f'train_dataloader.sampler.{key}': value for key, value in dict(
            type='wsld_plugin.PartSampler', parts=self.parts, size=self.size).items() if self.parts}
        hidden = {**part, 'default_hooks.predictions.type': 'wsld_plugin.PredictionsHook'} if part else {}
        expand = dict(all=_Expansion(work_dir, common, check_files),
                      part=_Expansion(work_dir, {**common, **part}, check_files))
        runs: dict[Cell, list[Run]] = {}
        for cell in self.cells:
            runs[cell] = []
            for number, seed in enumerate(self.seeds):
                teacher = self.seeds[number % (self.teachers or len(self.seeds))]
                if cell.method == 'teacher' and not part and seed != teacher:
                    continue
                # the folder names the teacher's seed where it differs; with parts, always: it never saw that part
                named = teacher if cell.teacher == 'all' and (part or teacher != seed) else None
                runs[cell].append(expand[cell.teacher].run(cell.config, dict(cell.options), seed, named, hidden))
            if part and not all(run.epochs for run in runs[cell]):
                raise ConfigError(f'{cell.config}: {BY_EPOCH}')
        if self.parts is not None and check_files:
            self._check_part_sizes(self.parts)
        return runs

    def _check_part_sizes(self, parts: int) -> None:
        sizes: dict[str, int] = {}
        for cell in self.cells:
            cfg = load_config(cell.config, {**dict(self.options), **dict(cell.options)})
            key = f'{cfg.get("default_scope")} {cfg.train_dataloader.dataset}'
            images = sizes[key] = sizes.get(key) or len(training_set(cfg))
            needed = max(self.size or 0, _FEWEST)
            if images // parts < needed:
                raise ConfigError(f'{cell.config}: parts={parts}, size={self.size}: the training set has {images} '
                                  f'images, {images // parts} a part, expected {needed} or more. Use fewer parts'
                                  f'{" or a smaller size" if self.size else ""}.')


def training_set(cfg: Config) -> Any:
    """Build the training set of a config."""
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        return DATASETS.build(dict(cfg.train_dataloader.dataset))


def load_plan(path: str | Path, *, seeds: Sequence[int] | None = None, models: int | None = None,
              rows: Sequence[str] | None = None, methods: Sequence[str] | None = None,
              options: Mapping[str, Any] | None = None) -> Plan:
    """Read a plan: a Python config with the keys of :class:`Plan`, ``models``, and ``rows``.

    ``rows`` is a list of ``dict(name=…, cells=[dict(method=…, config=…), …])``, with the keys of :class:`Cell`; paths
    of configs start from the plan's folder. A plan has either ``seeds``, or ``parts`` and the number of runs,
    ``models`` ≤ parts (all parts by default).

    Args:
        path, seeds, models: the plan's file, and what replaces its seeds or models.
        rows, methods: only these; ``->`` in a row stands for an arrow.
        options: replace the plan's and its cells' options of the same keys, and are added to the plan's.

    Raises:
        ConfigError: an unknown key, row, method or config; a value of a wrong type or range, or twice; nothing to do.
    """
    path = find_config(path)
    plan = {'title': path.stem, 'options': {}, **read_config(path)}
    if 'rows' not in plan:
        raise ConfigError(f'{path} is not a plan: it has no rows. Train a config with tools/train.py.')
    _check_keys(f'{path}: a plan', plan, _KEYS)
    _check_values(str(path), plan, 'rows', 'title', 'options')
    for key, lowest in (('parts', 2), ('size', _FEWEST), ('teachers', 1), ('every', 1)):
        if plan.get(key) is not None:
            check_integer(f'{path}: {key}', plan[key], lowest)
    seeds = _seeds(path, plan, seeds, models)
    _check_once(f'{path}: row', [row.get('name') for row in plan['rows']])
    options = options or {}
    cells = [cell for row in plan['rows'] for cell in _cells(path, row, options)]
    for name, chosen in (('row', rows and [row.replace('->', '→') for row in rows]), ('method', methods)):
        for value in chosen or ():
            check_choice(f'{path}: {name}', value, dict.fromkeys(getattr(cell, name) for cell in cells))
        cells = [cell for cell in cells if chosen is None or getattr(cell, name) in chosen]
    if not cells or not seeds:
        raise ConfigError(f'{path}: nothing to do: {len(cells)} cells, {len(seeds)} seeds.')
    return Plan(path.stem, plan['title'], seeds, tuple(cells), options=tuple({**plan['options'], **options}.items()),
                **{key: plan.get(key) for key in ('teachers', 'parts', 'size', 'every')})


def _seeds(path: Path, plan: Mapping[str, Any], seeds: Sequence[int] | None, models: int | None) -> tuple[int, ...]:
    models = plan.get('models') if models is None else models
    if plan.get('parts') is not None:
        if seeds is not None or 'seeds' in plan:
            raise ConfigError(f'{path}: a plan with parts has one run for each part and no seeds. Give models.')
        models = plan['parts'] if models is None else models
        check_integer(f'{path}: models', models, 2, plan['parts'])
        return tuple(range(models))
    for key, value in dict(size=plan.get('size'), models=models).items():
        if value is not None:
            raise ConfigError(f'{path}: {key}={value!r}, but the plan has no parts. Add parts, or give seeds.')
    seeds = tuple(plan.get('seeds', ()) if seeds is None else seeds)
    for seed in seeds:
        check_integer(f'{path}: seed', seed, 0)
    _check_once(f'{path}: seed', seeds)
    return seeds


def _cells(path: Path, row: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[Cell]:
    where = f'{path}, row {row.get("name")!r}'
    _check_keys(where, row, ('name', 'cells'))
    _check_values(where, row, 'name', 'cells')
    _check_once(f'{where}: method', [cell.get('method') for cell in row['cells']])
    for cell in row['cells']:
        _check_keys(f'{where}: a cell', cell, _CELL_KEYS)
        cell = {'options': {}, **{key: value for key, value in cell.items() if not key.startswith('_')}}
        _check_values(where, cell, 'method')
        at = f'{where}, {cell["method"]!r}'
        _check_values(at, cell, 'config', 'options')
        check_choice(f'{at}: epoch', cell.get('epoch', 'last'), ('last', 'best'))
        check_choice(f'{at}: teacher', cell.get('teacher', 'all'), ('all', 'part'))
        if cell.get('tau') is not None:
            check_number(f'{at}: tau', cell['tau'], 0, inclusive=False)
        try:
            config = find_config(cell['config'], relative_to=path.parent).resolve()
        except ConfigError as error:
            raise ConfigError(f'{at}: {error}') from None
        own = tuple((key, options.get(key, value)) for key, value in cell['options'].items())
        yield Cell(**{**cell, 'row': row['name'], 'config': config, 'options': own})


def _check_keys(where: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    for key in map(str, given):
        if key not in known and not key.startswith('_'):  # _name is a variable of the plan
            raise ConfigError(f'{where} has no key {key!r}.{did_you_mean(key, known)}')


def _check_values(where: str, given: Mapping[str, Any], *keys: str) -> None:
    for key in keys:
        value: Any = given.get(key)
        kind, of_item, expected = _TYPES.get(key, (str, str, 'a text'))
        right = isinstance(value, kind) and all(isinstance(item, of_item) for item in value)
        if not right or (not value and key != 'options'):
            raise ConfigError(f'{where}: {key}={value!r}, expected {expected}.')


def _check_once(where: str, values: Sequence[Any]) -> None:
    for value in values:
        if value is not None and values.count(value) > 1:
            raise ConfigError(f'{where} {value!r} is there twice.')


class _Expansion:
    """Makes runs of configs and options, and the runs of their teachers. Each config is read once."""

    def __init__(self, work_dir: Path, options: Mapping[str, Any], check_files: bool) -> None:
        self.work_dir, self.options, self.check_files = work_dir, options, check_files
        self._configs: dict[tuple, tuple[Config, str]] = {}

    def run(self, config: Path, own: Mapping[str, Any], seed: int, teacher_seed: int | None,
            hidden: Mapping[str, Any]) -> Run:
        """The run of a config. Its folder names a given ``teacher_seed``, its ``variant`` the ``own`` options."""
        options = {**self.options, **hidden, **own}
        pairs = tuple(f'{key}={_as_option(value)}' for key, value in sorted(options.items()))
        if (config, pairs) not in self._configs:
            cfg = load_config(config, options)
            check_config(cfg)
            self._configs[config, pairs] = cfg, _fingerprint(cfg.to_dict())
            if self.check_files:
                check_data(cfg)
                others = copy.deepcopy(cfg)
                others.merge_from_dict({key: False for key, _, _ in _trained(cfg.model, config)})
                check_teacher(others)
        cfg, settings = self._configs[config, pairs]
        teachers = {key: (self.run(teacher, {}, seed if teacher_seed is None else teacher_seed, None, {}), file)
                    for key, teacher, file in _trained(cfg.model, config)}
        needs = tuple(dict.fromkeys(run for run, _ in teachers.values()))
        variant = ', '.join(sorted(f'{key.rpartition(".")[2]}={short(value)}' for key, value in own.items()))
        folder = config.stem + (f'-{_fingerprint(pairs)[:8]}' if pairs else '')
        name = f'seed{seed}' + (f'-teacher{teacher_seed}' if needs and teacher_seed is not None else '')
        checkpoints = (f'{key}={run.work_dir / file}' for key, (run, file) in teachers.items())
        fingerprint = _fingerprint([settings, *(run.settings for run in needs)])
        return Run(config, seed, self.work_dir / folder / name, (*pairs, *checkpoints), needs, fingerprint,
                   cfg.train_cfg.get('max_epochs', 0), variant)


def _trained(part: Any, config: Path, path: tuple[str, ...] = ('model',)) -> Iterator[tuple[str, Path, str]]:
    """The checkpoints in a model that other configs train: option, config and file of each."""
    if isinstance(part, (Mapping, list, tuple)):
        for key, value in part.items() if isinstance(part, Mapping) else enumerate(part):
            yield from _trained(value, config, (*path, str(key)))
    elif isinstance(part, str) and (match := _TRAINED.match(part)):
        where, root = '.'.join(path), config.parents[1]
        known = {path.stem: path for path in sorted(root.glob('*/*.py'))}
        if match[1] not in known:
            raise ConfigError(f'{config}: {where} expects a checkpoint of the config {match[1]}.py, but {root}/*/ '
                              f'does not have it.{did_you_mean(match[1], known)}')
        yield where, known[match[1]], match[2]


def _as_option(value: Any) -> str:
    """A value as ``--cfg-options`` reads it."""
    if isinstance(value, (list, tuple)):
        items = ','.join(map(_as_option, value))
        return f'[{items}]' if isinstance(value, list) else f'({items})'
    return str(value)


def _fingerprint(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
