"""Disjoint parts of a training set, each with the classes in equal shares."""
from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.dist import sync_random_seed

from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class PartSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` on one of several disjoint parts of any data set that knows its labels.

    The samples are ordered by class, within a class once and for all at random, and dealt to the parts in turn; all
    parts keep the same rounds. So how often a class is in two parts differs by 1 at most, for any ``size``. What the
    parts are does not depend on the seed.

    Args:
        dataset: given by the Runner; ``get_gt_labels()`` gives its labels.
        parts: into how many the data set is dealt; 1 … its size.
        part: which, 0 … parts − 1; None: the seed mod ``parts``, so that runs over seeds are runs over parts.
        size: take only so many samples of the part, evenly over its classes; None: all.
        seed: given by the Runner.
        **kwargs: as for ``DefaultSampler``: ``shuffle``, ``round_up``.

    Raises:
        ConfigError: a part that is not there, or a ``size`` that a part does not have.
    """

    def __init__(self, dataset: Any, parts: int, part: int | None = None, size: int | None = None,
                 seed: int | None = None, **kwargs: Any) -> None:
        labels = np.asarray(dataset.get_gt_labels())
        if isinstance(parts, bool) or not isinstance(parts, (int, np.integer)) or not 1 <= parts <= len(labels):
            raise ConfigError(f'PartSampler(parts={parts!r}), expected a number of parts, 1 or more and not more '
                              f'than the {len(labels)} samples of the data set.')
        seed = sync_random_seed() if seed is None else seed
        part = seed % parts if part is None else part
        if not 0 <= part < parts:
            raise ConfigError(f'PartSampler(part={part}, parts={parts}), expected a part of 0 … {parts - 1}.')
        smallest = len(labels) // parts
        if size is None:
            size = smallest
        if not 0 < size <= smallest:
            raise ConfigError(f'PartSampler(parts={parts}, size={size}): {len(labels)} samples in {parts} parts are '
                              f'{smallest} each. Take fewer parts, or a size of 1 … {smallest}.')
        at_random = np.random.default_rng(0).permutation(len(labels))
        dealt = at_random[np.argsort(labels[at_random], kind='stable')][part::parts]
        self.indices = dealt[np.arange(size) * smallest // size]
        super().__init__(self.indices, seed=seed, **kwargs)

    def __iter__(self) -> Any:
        return (int(self.indices[place]) for place in super().__iter__())
