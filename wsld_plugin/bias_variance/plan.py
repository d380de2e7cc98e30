"""Plans: which methods are compared, on how many disjoint parts of the training set."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wsld_plugin.config.load import find_config, load_config, read_config
from wsld_plugin.errors import ConfigError, check_choice
from wsld_plugin.reproduce.expand import Expansion, variant_of
from wsld_plugin.reproduce.plan import check_keys, overridden
from wsld_plugin.reproduce.runs import Run

from .images import ImageCounts
from .predictions import BY_EPOCH
from .values import check_method, check_plan

_HOOK = 'wsld_plugin.bias_variance.predictions.PredictionsHook'
_KEYS = {'title', 'parts', 'size', 'models', 'teachers', 'every', 'options', 'methods'}
_METHOD_KEYS = {'name', 'config', 'tau', 'options', 'teacher'}


@dataclass(frozen=True)
class Method:
    """What is compared.

    Args:
        name: methods of one name and several temperatures make one line of the picture.
        config: trains it.
        tau: its temperature, for the picture; None: it has none.
        options: what replaces settings of the config; dotted keys. Not the teacher's.
        teacher: ``'all'``: trained on the whole training set. ``'part'``: on the student's part.
    """

    name: str
    config: Path
    tau: float | None = None
    options: tuple[tuple[str, Any], ...] = field(default=(), hash=False)  # a value may be a list
    teacher: str = 'all'

    def __str__(self) -> str:
        return self.name if self.tau is None else f'{self.name}, τ = {self.tau:g}'


@dataclass(frozen=True)
class Plan:
    """A comparison of the bias and the variance of methods.

    Args:
        name: of the plan's file.
        title: what is compared.
        parts: disjoint parts of the training set.
        size: images of a part that are used; None: all.
        models: M ≤ parts, one a part.
        teachers: how many, ≤ M; model m has teacher m mod T. They differ in their seed.
        every: epochs between two looks at bias and variance; None: as the configs validate.
        options: what replaces settings of every config, teachers' included.
        methods: the first is what the others are compared with.
    """

    name: str
    title: str
    parts: int
    size: int | None
    models: int
    teachers: int
    every: int | None
    options: tuple[tuple[str, Any], ...]
    methods: tuple[Method, ...]

    def runs(self, work_dir: Path) -> dict[Method, list[Run]]:
        """M runs of every method, one a part; their teachers' runs are what they need.

        The m-th models of all methods have the same part and the same seed, m, for weights and order.

        Raises:
            ConfigError: a config that does not exist, asks for what does not exist, or trains by iteration; missing
                data; a training set with too few images for its parts.
        """
        common = dict(self.options)
        if self.every is not None:
            common.setdefault('train_cfg.val_interval', self.every)
        # the sampler takes its part from the seed
        of_part = {f'train_dataloader.sampler.{key}': value for key, value in
                   dict(type='wsld_plugin.PartSampler', parts=self.parts, size=self.size).items()}
        expand = dict(all=Expansion(work_dir, common), part=Expansion(work_dir, {**common, **of_part}))
        runs = {method: [self._run(expand[method.teacher], method, of_part, part) for part in range(self.models)]
                for method in self.methods}
        counts = ImageCounts()
        for method in self.methods:
            cfg = load_config(method.config, {**common, **dict(method.options)})
            counts.check(method.config, cfg, self.parts, self.size)
        return runs

    def _run(self, expand: Expansion, method: Method, of_part: Mapping[str, Any], part: int) -> Run:
        options = {**of_part, 'default_hooks.predictions.type': _HOOK, **dict(method.options)}
        teacher = part if method.teacher == 'part' else part % self.teachers
        run = replace(expand.run(method.config, options, teacher), variant=variant_of(dict(method.options)))
        if not run.epochs:
            raise ConfigError(f'{method.config}: {BY_EPOCH}')
        if method.teacher == 'part':
            return run
        name = f'seed{part}' + (f'-teacher{teacher}' if run.needs else '')
        return replace(run, seed=part, work_dir=run.work_dir.parent / name)


def load_plan(path: str | Path, *, models: int | None = None, options: Mapping[str, Any] | None = None) -> Plan:
    """Read a plan: a Python config with the settings of `Plan`, and ``methods``, a list of dicts as `Method`.

    Args:
        path: the plan's file. The configs in it are named relative to its folder.
        models: in place of the plan's.
        options: beside the plan's own, and in place of the same ones of it and of its methods, for shorter runs.
            ``train_cfg.val_interval`` takes the place of ``every``.

    Raises:
        ConfigError: no such plan; an unknown key or config; a value of another type or out of its range; numbers that
            do not fit each other; a method twice.
    """
    path = find_config(path)
    cfg = read_config(path)
    if 'methods' not in cfg and 'parts' not in cfg:
        raise ConfigError(f'{path} is no plan of bias and variance: it has no methods and no parts. A config trains '
                          'with tools/train.py, a plan of a table with tools/reproduce.py.')
    check_keys(cfg, f'{path}: a plan', _KEYS)
    for key in ('methods', 'parts'):
        if key not in cfg:
            raise ConfigError(f'{path}: a plan of bias and variance needs {key}.')
    check_plan(str(path), cfg)
    parts, teachers = cfg.parts, cfg.get('teachers', 1)
    planned = cfg.get('models', parts)
    models = planned if models is None else models
    if not 2 <= models <= parts:
        raise ConfigError(f'{path}: {models} models on {parts} disjoint parts, expected 2 … {parts} models.')
    if teachers > planned:
        raise ConfigError(f'{path}: {teachers} teachers of {planned} models, expected 1 … {planned}.')
    methods = tuple(_method(path, method, options) for method in cfg.methods)
    names = [str(method) for method in methods]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f'{path}: the method {twice!r} is there twice.')
    return Plan(path.stem, cfg.get('title', path.stem), parts, cfg.get('size'), models, min(teachers, models),
                cfg.get('every'), tuple({**cfg.get('options', {}), **(options or {})}.items()), methods)


def _method(path: Path, method: Mapping[str, Any], options: Mapping[str, Any] | None) -> Method:
    where = f'{path}, method {method.get("name")!r}'
    check_keys(method, where, _METHOD_KEYS)
    if not method.get('name') or not method.get('config'):
        raise ConfigError(f'{where} needs a name and a config.')
    check_method(where, method)
    check_choice(f'{where}: teacher', method.get('teacher', 'all'), ('all', 'part'))
    try:
        config = find_config(method['config'], relative_to=path.parent).resolve()
    except ConfigError as error:
        raise ConfigError(f'{where}: {error}') from None
    return Method(method['name'], config, method.get('tau'), overridden(method.get('options', {}), options),
                  method.get('teacher', 'all'))
