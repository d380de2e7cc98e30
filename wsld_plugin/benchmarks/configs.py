"""Training configs as steps that can be compared: the same batch and image size, and nothing left out in silence."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from wsld_plugin.config.check import check_config
from wsld_plugin.config.load import load_config
from wsld_plugin.engine.accelerate import accelerate
from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels.config import cached_teacher

from .batches import image_size
from .step import TrainStep, scope_of

_NEEDED = ('model', 'train_dataloader', 'optim_wrapper')
# What mmengine's Runner would wrap the model or its step in; silently measuring without it would mislead.
_NOT_BUILT = ('compile', 'activation_checkpointing', 'efficient_conv_bn_eval', 'sync_bn', 'model_wrapper_cfg')


def train_steps(paths: Sequence[str], batch_size: int | None = None, side: int | None = None,
                options: Mapping[str, Any] | None = None) -> tuple[list[TrainStep], int, int]:
    """The steps of some configs, on batches of one size.

    Args:
        paths: of training configs. One that is named again is another variant, which tells the noise.
        batch_size: None: the configs' own.
        side: of the square images in pixels; None: the configs' own.
        options: what replaces settings of every config; dotted keys.

    Returns:
        The steps, the batch size and the side.

    Raises:
        ConfigError: a config that is wrong or cannot be built here; sizes that differ and are not given.
    """
    cfgs = dict(zip(names_of(paths), [read_training_config(path, options) for path in paths], strict=True))
    if batch_size is None:
        own = {name: cfg.train_dataloader.get('batch_size') for name, cfg in cfgs.items()}
        batch_size = _same(own, '--batch-size')
    if side is None:
        side = _same({name: own_image_size(cfg) for name, cfg in cfgs.items()}, '--image-size')
    return [TrainStep(name, cfg, batch_size, side) for name, cfg in cfgs.items()], batch_size, side


def read_training_config(path: str, options: Mapping[str, Any] | None = None) -> Config:
    """The config at ``path``, checked; ConfigError for what is wrong, missing or not built here."""
    cfg = load_config(path, options)
    check_config(cfg)
    missing = [key for key in _NEEDED if not cfg.get(key)]
    if missing:
        raise ConfigError(f'{path} has no {" and no ".join(missing)}: expected a config that tools/train.py takes.')
    for key in _NOT_BUILT:
        if cfg.get(key):
            raise ConfigError(f'{path}: {key}={cfg[key]!r} is not built by this benchmark, so its figure would be '
                              f'that of another step. Measure it with --cfg-options {key}=None.')
    if cached_teacher(cfg) is not None:
        raise ConfigError(f'{path}: its soft labels come from a cache, and there is none of random images. Measure '
                          "it with `tools/benchmark.py step`, whose rungs 'cached' make one.")
    for part in ('resident', 'cuda_graph'):
        if (cfg.get('accelerate') or {}).get(part):
            raise ConfigError(f'{path}: accelerate.{part} is a matter of the data, which are not measured here. '
                              'Measure it with `tools/benchmark.py train`.')
    accelerate(cfg)
    return cfg


def own_image_size(cfg: Config) -> int:
    """The side of a config's training images in pixels; ConfigError where it cannot be told."""
    with DefaultScope.overwrite_default_scope(scope_of(cfg)):
        return image_size(cfg)


def names_of(paths: Sequence[str]) -> list[str]:
    """The files' names, numbered where one is there twice.

    >>> names_of(['a/x.py', 'a/y.py', 'b/x.py'])
    ['x', 'y', 'x (2)']
    """
    stems = [Path(path).stem for path in paths]
    return [stem + (f' ({earlier + 1})' if (earlier := stems[:index].count(stem)) else '')
            for index, stem in enumerate(stems)]


def _same(values: Mapping[str, int | None], option: str) -> int:
    value, *others = set(values.values())
    if others or value is None:
        raise ConfigError('steps of different or unknown sizes cannot be compared: '
                          f'{", ".join(f"{name} has {value}" for name, value in values.items())}. Give {option}.')
    return value
