"""What the data sets with weak labels have in common."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
from mmpretrain.structures import DataSample

from wsld_plugin.datasets.keyed import SampleKey
from wsld_plugin.datasets.wrapper import DatasetWrapper
from wsld_plugin.errors import ConfigError


class WeakLabels(DatasetWrapper):
    """A data set that changes the labels of another one; its images and all else are the other's.

    Samples are taken by their index, or by the `SampleKey` that a `KeyedSampler` hands out; the label depends on the
    index alone, so that it is the same in every epoch, worker and rank and after a resume. It can stand inside a
    `KeyedDataset` or around one. What is changed is the packed sample, so that the pipeline may be any.

    Args:
        dataset: a data set of mmpretrain, a wrapper of one, or its config. It tells its classes and labels by
            ``metainfo['classes']`` and ``get_gt_labels()``.

    Raises:
        ConfigError: a data set that does not tell them, or whose labels are not one class index each; with the first
            sample, a pipeline that does not pack it.
    """

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset)
        name, inner = type(self).__name__, type(self.dataset).__name__
        if not hasattr(self.dataset, 'get_gt_labels') or not (getattr(self.dataset, 'metainfo', None) or {}).get(
                'classes'):
            raise ConfigError(f"{name}: {inner} has no get_gt_labels() or no metainfo['classes'], expected a data "
                              "set of mmpretrain; classes can be given to it: metainfo=dict(classes=[...]).")
        self.num_classes = len(self.dataset.metainfo['classes'])
        self.given_labels = np.asarray(self.dataset.get_gt_labels())
        wrong = (np.flatnonzero((self.given_labels < 0) | (self.given_labels >= self.num_classes))
                 if self.given_labels.dtype.kind in 'iu' and self.given_labels.ndim == 1 else [0])
        if len(wrong):
            raise ConfigError(f'{name}: the label of sample {wrong[0]} of {inner} is {self.given_labels[wrong[0]]}, '
                              f'expected one index of 0 … {self.num_classes - 1}.')

    def __getitem__(self, key: SampleKey | int) -> Any:
        data = self.dataset[key]
        sample = data.get('data_samples') if isinstance(data, dict) else None
        if not isinstance(sample, DataSample):
            raise ConfigError(f'{type(self).__name__}: the pipeline of {type(self.dataset).__name__} gives no '
                              'DataSample, which the label goes with; its last transform should be PackInputs.')
        self.relabel(sample, key.index if isinstance(key, SampleKey) else int(key))
        return data

    def relabel(self, sample: DataSample, index: int) -> None:
        """Put the weak label of the sample in the place of the label."""
        raise NotImplementedError


def check_share(name: str, value: Any) -> None:
    """Raise :class:`ConfigError` unless the value is a number of 0 … 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1 or math.isnan(value):
        raise ConfigError(f'{name} is {value!r}, expected a probability of 0 … 1, such as 0.2.')


def check_count(name: str, value: Any, low: int, high: int) -> None:
    """Raise :class:`ConfigError` unless the value is an integer of low … high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f'{name} is {value!r}, expected {low} … {high}.')
