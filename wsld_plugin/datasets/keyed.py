"""Randomness that belongs to the sample: the same augmentation for any number of workers, ranks and restarts."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, NamedTuple

from mmengine import registry as root
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.structures import BaseDataElement
from torch.utils.data import Sampler

from wsld_plugin.registry import DATA_SAMPLERS, DATASETS

from .randomness import seeded
from .wrapper import DatasetWrapper


class SampleKey(NamedTuple):
    """What the augmentation of one sample depends on: the run's seed, the epoch, the sample's place in the data set,
    and how often that sample came before in this epoch.
    """

    seed: int
    epoch: int
    index: int  # type: ignore[assignment]  # tuple's method of this name has no use here
    repeat: int = 0


@DATA_SAMPLERS.register_module()
class KeyedSampler(Sampler):
    """Any sampler of indices, giving out a `SampleKey` for each; for a `KeyedDataset`.

    Args:
        dataset: the data set; given by the Runner.
        sampler: the config of a sampler of mmengine or mmpretrain, or one that was built.
        seed: given by the Runner; None: one that all ranks draw together.
        views: how many augmentations of a sample there are, where its soft labels are cached; None: a new one in
            every epoch. The key's ``epoch`` is then the view, e mod ``views``, its ``repeat`` 0, and the passes of
            ``InfiniteSampler`` and the views of ``RepeatAugSampler`` count on. The order of the samples stays that
            of the epoch.

    ``repeat`` is counted for ``InfiniteSampler`` (passes through the data) and for ``RepeatAugSampler`` (the views of
    one image), over all ranks; it is 0 for the others, so one that repeats an index in some other way repeats its
    augmentation within the epoch too.
    """

    def __init__(self, dataset: Any, sampler: Any, seed: int | None = None,
                 views: int | None = None) -> None:
        self.views = views
        self.seed = sync_random_seed() if seed is None else seed
        self.size = len(dataset)
        self.sampler: Any = sampler
        if isinstance(sampler, Mapping):
            self.sampler = root.DATA_SAMPLERS.build(dict(sampler), default_args=dict(dataset=dataset, seed=self.seed))
        self.rank, self.world_size = get_dist_info()
        self.epoch = 0

    def __iter__(self) -> Iterator[SampleKey]:
        here, per_epoch = self.epoch, getattr(self.sampler, 'num_repeats', 1)
        for index, repeat in zip(self.sampler, self._repeats(), strict=False):
            epoch = here
            if self.views:
                epoch, repeat = (here * per_epoch + repeat) % self.views, 0
            yield SampleKey(self.seed, epoch, int(index), repeat)

    def __len__(self) -> int:
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch, here and to the sampler inside."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def _repeats(self) -> Iterator[int]:
        infinite, views = isinstance(self.sampler, InfiniteSampler), getattr(self.sampler, 'num_repeats', 1)
        for place in count(self.rank, self.world_size):  # both samplers deal their places to the ranks in turn
            yield place // self.size if infinite else place % views


@DATASETS.register_module()
class KeyedDataset(DatasetWrapper):
    """Any data set, its augmentation seeded anew for every sample from the sample's key.

    ``dataset[key]`` is ``dataset[key.index]``, computed with `random`, numpy's global generator and torch's CPU
    generator seeded from BLAKE2b(seed, epoch, index, repeat). The process's own random state is the same afterwards
    (see `seeded` for the exception), so nothing else depends on whether samples are made here or in a worker. The key
    goes with the sample as ``data_samples.sample_key``. Everything else is the wrapped data set's own: attributes
    are passed through.

    A transform that draws from a generator of its own, not from these three, is not covered.

    Args:
        dataset: the data set, or its config.

    Raises:
        TypeError: an index that is not a `SampleKey`: without an epoch every epoch would have the same augmentation.
    """

    def __getitem__(self, key: SampleKey) -> Any:
        if not isinstance(key, SampleKey):
            raise TypeError(f'KeyedDataset[{key!r}]: expected a SampleKey. Its loader needs sampler='
                            "dict(type='wsld_plugin.KeyedSampler', sampler=dict(type='DefaultSampler', ...)); "
                            'for a sample without a key, index KeyedDataset.dataset.')
        with seeded('sample', *key):
            data = self.dataset[key.index]
        sample = data.get('data_samples') if isinstance(data, dict) else None
        if isinstance(sample, BaseDataElement):
            sample.set_field(key, 'sample_key', field_type='metainfo')
        return data
