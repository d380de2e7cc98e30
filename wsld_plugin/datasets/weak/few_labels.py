"""Incomplete supervision: few samples are labelled."""
from __future__ import annotations

from typing import Any

import numpy as np
from mmpretrain.structures import DataSample

from wsld_plugin.datasets.keyed import SampleKey
from wsld_plugin.losses.checks import HIDDEN
from wsld_plugin.registry import DATASETS

from .draws import shuffled
from .wrapper import WeakLabels, check_count


@DATASETS.register_module()
class FewLabels(WeakLabels):
    """A data set of which only ``num_labels`` samples keep their labels, the classes in equal parts.

    The ``gt_label`` of the others is -100, which a cross entropy leaves out: they teach through soft labels alone.
    The hard loss still divides by all N samples of a batch, so its weight shrinks with the share of labels. Losses
    that need every label, as `WSLD` does, refuse such a batch; `KD` reads none. Which samples are labelled is drawn
    once, by the seed.

    Args:
        dataset: the data set, or its config.
        num_labels: how many are labelled; at least one a class.
        rest: False: the data set is the labelled samples alone, to train the first teacher on.
        seed: of the draw.

    Attributes:
        labelled: (N,) bool, of the wrapped data set's samples.

    Raises:
        ConfigError: more labels than samples, fewer than classes.
    """

    def __init__(self, dataset: Any, num_labels: int, rest: bool = True, seed: int = 0) -> None:
        super().__init__(dataset)
        check_count('FewLabels: num_labels', num_labels, self.num_classes, len(self.given_labels))
        chosen = shuffled(self.given_labels, seed)[:num_labels]
        self.labelled = np.zeros(len(self.given_labels), dtype=bool)
        self.labelled[chosen] = True
        self.places = np.arange(len(self.given_labels)) if rest else np.sort(chosen)

    def get_gt_labels(self) -> np.ndarray:
        """The labels, -100 where there is none."""
        return np.where(self.labelled, self.given_labels, HIDDEN)[self.places]

    def __getitem__(self, key: SampleKey | int) -> Any:
        if not isinstance(key, SampleKey):
            return super().__getitem__(int(self.places[key]))
        data = super().__getitem__(key._replace(index=int(self.places[key.index])))
        # a KeyedDataset inside gave it the place there; a cache of soft labels counts the samples of this one
        data['data_samples'].set_field(key, 'sample_key', field_type='metainfo')
        return data

    def __len__(self) -> int:
        return len(self.places)

    def relabel(self, sample: DataSample, index: int) -> None:
        """Hide the label where there is none."""
        if not self.labelled[index]:
            sample.set_gt_label(HIDDEN)
