"""The images of one split of a config, and no others."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS

from wsld_plugin.config.check import check_data
from wsld_plugin.datasets import KeyedDataset
from wsld_plugin.errors import ConfigError

SPLITS = dict(train=('train_dataloader', ), test=('test_dataloader', 'val_dataloader'))


def find_loader(cfg: Config, split: str) -> Mapping[str, Any]:
    """The config of a split's loader.

    Args:
        cfg: a whole config.
        split: of `SPLITS`; where there is no test loader that of the validation is taken.

    Raises:
        ConfigError: there is none, it cannot give batches, or its files are not there.
    """
    name = _name_of_loader(cfg, split)
    if name is None:
        other = next((each for each in SPLITS if _name_of_loader(cfg, each)), None)
        raise ConfigError(f'{cfg.filename} has no {split}_dataloader with a dataset: there are no images to look at. '
                          + (f'Take --split {other}, or add one.' if other else 'Add one.'))
    loader = cfg[name]
    for key, value, low in (('batch_size', loader.get('batch_size'), 1),
                            ('num_workers', loader.get('num_workers', 0), 0)):
        if type(value) is not int or value < low:
            raise ConfigError(f'{name}.{key}={value!r}, expected a whole number from {low} up.')
    check_data(Config({'model': cfg.model, 'data_preprocessor': cfg.get('data_preprocessor'), name: loader,
                       name.replace('dataloader', 'cfg'): {}}))
    return loader


def build_dataset(cfg: Mapping[str, Any]) -> KeyedDataset:
    """Build a data set, whose augmentation follows the keys of its samples.

    Raises:
        ConfigError: it has no images.
    """
    try:
        dataset = DATASETS.build(dict(cfg))
    except ValueError as error:
        if 'need at least one array' not in str(error):  # mmengine's, where it packs the list of samples
            raise
        dataset = []
    if not len(dataset):
        kind = cfg.get('type')
        raise ConfigError(f'the data set {kind if isinstance(kind, str) else getattr(kind, "__name__", kind)} has no '
                          'images: look at its indices, its num_samples or its list of files.')
    return dataset if isinstance(dataset, KeyedDataset) else KeyedDataset(dataset)


def spread(size: int, most: int | None) -> list[int]:
    """Places in equal distances, at most so many: data sets are often sorted by class."""
    return np.linspace(0, size - 1, min(most or size, size)).round().astype(int).tolist()


def _name_of_loader(cfg: Config, split: str) -> str | None:
    return next((name for name in SPLITS[split] if isinstance(cfg.get(name), Mapping)
                 and isinstance(cfg[name].get('dataset'), Mapping)), None)
