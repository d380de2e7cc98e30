"""From a config and a seed to a training run, and to the runs of the teachers that it needs."""
from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsld_plugin.config.check import check_config, check_data, check_teacher
from wsld_plugin.config.load import load_config, short
from wsld_plugin.errors import ConfigError, did_you_mean

from .runs import Run

# How a config names what another config trains: work_dirs/<name of the config>/<file>.
_TRAINED = re.compile(r'^work_dirs/([^/]+)/((?:student|model)_(?:last|best)\.pth)$')


class Expansion:
    """Makes runs, reading every config once.

    Args:
        work_dir: the folder that holds a folder for each run.
        options: what replaces settings of every config, teachers' included; dotted keys.
        check_files: whether data and checkpoints that no config trains must be there.
    """

    def __init__(self, work_dir: Path, options: Mapping[str, Any], check_files: bool = True) -> None:
        self.work_dir = work_dir
        self.options = options
        self.check_files = check_files
        self._configs: dict[tuple, tuple[Config, str]] = {}

    def run(self, config: Path, options: Mapping[str, Any], seed: int, teacher_seed: int | None = None) -> Run:
        """The run of a config with options of its own.

        Args:
            config: what is trained.
            options: what replaces settings of this config only; dotted keys.
            seed: of the run.
            teacher_seed: of its teachers' runs; None: ``seed``. Where they differ, the folder of the run names both.

        Raises:
            ConfigError: the config, or a teacher's, does not exist or asks for what does not; missing data.
        """
        teacher_seed = seed if teacher_seed is None else teacher_seed
        variant, options = variant_of(options), {**self.options, **options}
        pairs = tuple(f'{key}={_as_option(value)}' for key, value in sorted(options.items()))
        if (config, pairs) not in self._configs:
            self._configs[config, pairs] = self._read(config, options)
        cfg, settings = self._configs[config, pairs]
        teachers = {key: (self.run(teacher, {}, teacher_seed), file)
                    for key, teacher, file in _trained(cfg.model, config)}
        needs = tuple(dict.fromkeys(run for run, _ in teachers.values()))
        settings = _fingerprint([settings, *(run.settings for run in needs)])
        folder = config.stem + (f'-{_fingerprint(pairs)[:8]}' if pairs else '')
        name = f'seed{seed}' + (f'-teacher{teacher_seed}' if needs and teacher_seed != seed else '')
        return Run(config, seed, self.work_dir / folder / name,
                   (*pairs, *(f'{key}={run.work_dir / file}' for key, (run, file) in teachers.items())),
                   needs, settings, cfg.train_cfg.get('max_epochs', 0), variant)

    def _read(self, config: Path, options: Mapping[str, Any]) -> tuple[Config, str]:
        cfg = load_config(config, options)
        check_config(cfg)
        settings = _fingerprint(cfg.to_dict())
        if self.check_files:
            check_data(cfg)
            others = copy.deepcopy(cfg)
            others.merge_from_dict({key: False for key, _, _ in _trained(cfg.model, config)})
            check_teacher(others)
        return cfg, settings


def variant_of(options: Mapping[str, Any]) -> str:
    """Options as a reader tells runs of one config apart by them: ``'num_labels=100, tau=2.0'``."""
    return ', '.join(sorted(f'{key.rpartition(".")[2]}={short(value)}' for key, value in options.items()))


def _trained(part: Any, config: Path, path: tuple[str, ...] = ('model',)) -> Iterator[tuple[str, Path, str]]:
    """The checkpoints in a model that other configs train: option, config and file of each."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            yield from _trained(value, config, (*path, str(key)))
    elif isinstance(part, (list, tuple)):
        for index, value in enumerate(part):
            yield from _trained(value, config, (*path, str(index)))
    elif isinstance(part, str) and (match := _TRAINED.match(part)):
        yield '.'.join(path), _config_named(match[1], config, '.'.join(path)), match[2]


def _config_named(stem: str, beside: Path, where: str) -> Path:
    """The config of this name in the folders beside that of another config."""
    known = {path.stem: path for path in sorted(beside.parents[1].glob('*/*.py'))}
    if stem not in known:
        raise ConfigError(f'{beside}: {where} expects what the config {stem}.py trains, but {beside.parents[1]}/*/ '
                          f'has no config of that name.{did_you_mean(stem, known)}')
    return known[stem]


def _as_option(value: Any) -> str:
    """A value as ``--cfg-options`` reads it."""
    if isinstance(value, (list, tuple)):
        items = ','.join(map(_as_option, value))
        return f'[{items}]' if isinstance(value, list) else f'({items})'
    return str(value)


def _fingerprint(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
