"""Randomness that belongs to the sample: the same augmentation for any number of workers, ranks and restarts."""
from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine import registry as root
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.structures import BaseDataElement
from torch.utils.data import Sampler

from wsld_plugin.registry import DATA_SAMPLERS, DATASETS

_WRAPPERS = dict(dataset='wsld_plugin.KeyedDataset', sampler='wsld_plugin.KeyedSampler')
# numpy's generator is swapped, not saved and restored: 0.2 µs instead of 50
_SAMPLE_BITS = np.random.MT19937(0)
_GAMMA, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


class SampleKey(NamedTuple):
    """What the augmentation of a sample depends on.

    ``seed`` is the run's, ``index`` the place in the data set, ``repeat`` the count of earlier uses in the epoch.
    """

    seed: int
    epoch: int
    index: int  # type: ignore[assignment]  # replaces tuple's method of this name
    repeat: int = 0


@DATA_SAMPLERS.register_module()
class KeyedSampler(Sampler):
    """Any sampler of indices, yielding a `SampleKey` for each index; for a `KeyedDataset` or a `ResidentDataset`.

    ``repeat`` counts the passes of an ``InfiniteSampler`` and the repetitions of a ``RepeatAugSampler``, over all
    ranks. It is 0 for other samplers: one that repeats an index repeats its augmentation within the epoch too.

    Args:
        dataset: the data set; given by the Runner.
        sampler: the config of a sampler of mmengine or mmpretrain, or a built one.
        seed: given by the Runner; None: one that all ranks draw together.
        views: the number of augmentations of each sample whose soft labels are cached; None: a new augmentation in
            every epoch. With V views the key's ``epoch`` is the view, e mod V, and ``repeat`` is 0; passes and
            repetitions count as further epochs. The order of the samples is still that of the epoch.

    Attributes:
        start: number of samples that the next pass skips: those that a resumed epoch has used.
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
        self.epoch = self.start = 0

    def __iter__(self) -> Iterator[SampleKey]:
        epoch, repeats = self.epoch, getattr(self.sampler, 'num_repeats', 1)
        infinite = isinstance(self.sampler, InfiniteSampler)
        start, self.start = self.start, 0
        # both repeating samplers deal their places to the ranks in turn
        places = zip(self.sampler, count(self.rank, self.world_size), strict=False)
        for index, place in islice(places, start, None):
            repeat = place // self.size if infinite else place % repeats
            if self.views:
                yield SampleKey(self.seed, (epoch * repeats + repeat) % self.views, int(index))
            else:
                yield SampleKey(self.seed, epoch, int(index), repeat)

    def __len__(self) -> int:
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, here and in the inner sampler."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)


class DatasetWrapper:
    """A data set that changes the samples of another one and passes on its attributes.

    Args:
        dataset: the data set, or its config.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = root.DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset

    def __len__(self) -> int:
        return len(self.dataset)

    # mmpretrain's SwitchRecipeHook sets it in the middle of a run
    @property
    def pipeline(self) -> Any:
        """The pipeline of the wrapped data set; can be set."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        self.dataset.pipeline = pipeline

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset' or name.startswith('__'):  # not set yet while a worker unpickles this
            raise AttributeError(name)
        return getattr(self.dataset, name)


@DATASETS.register_module()
class KeyedDataset(DatasetWrapper):
    """Any data set, with the random generators seeded from the sample's key before each sample is augmented.

    ``dataset[key]`` is ``dataset[key.index]``, computed with `random`, numpy's global generator and torch's CPU
    generator seeded from BLAKE2b(seed, epoch, index, repeat). Afterwards the process's random state is restored (see
    `seeded` for the exception). The key is stored as ``data_samples.sample_key``. Transforms that draw from a
    generator of their own are not covered.

    Args:
        dataset: the data set, or its config.

    Raises:
        TypeError: an index that is not a `SampleKey`: without an epoch, every epoch would have the same augmentation.
    """

    def __getitem__(self, key: SampleKey) -> Any:
        check_key(self, key)
        with seeded('sample', *key):
            data = self.dataset[key.index]
        sample = data.get('data_samples') if isinstance(data, dict) else None
        if isinstance(sample, BaseDataElement):
            sample.set_field(key, 'sample_key', field_type='metainfo')
        return data


def check_key(dataset: DatasetWrapper, key: Any) -> None:
    """Raise TypeError unless ``key``, which indexes ``dataset``, is a `SampleKey`."""
    if not isinstance(key, SampleKey):
        name = type(dataset).__name__
        raise TypeError(f"{name}[{key!r}]: expected a SampleKey. Its loader needs sampler=dict(type='wsld_plugin."
                        f"KeyedSampler', sampler=dict(type='DefaultSampler', …)); without a key, use {name}.dataset.")


def key_training_set(cfg: Config, views: int | None = None) -> None:
    """Wrap a config's training set in `KeyedDataset` and its sampler in `KeyedSampler`, in place.

    Called after options were merged, so that configs and ``--cfg-options train_dataloader.dataset.…`` keep the plain
    form. Parts that are wrapped already, and a config without a training set, are not changed.

    Args:
        cfg: a whole config.
        views: of cached soft labels; the hook that opens their cache is added too. None: no soft labels are cached.
    """
    loader = cfg.get('train_dataloader')
    if not isinstance(loader, Mapping):
        return
    keyed = dict(loader)
    for key, wrapper in _WRAPPERS.items():
        part = loader.get(key)
        if isinstance(part, Mapping) and part.get('type') != wrapper:
            keyed[key] = {'type': wrapper, key: part}
    if views is not None:
        if isinstance(keyed.get('sampler'), Mapping):
            keyed['sampler'] = {'views': views, **keyed['sampler']}
        opens = dict(type='wsld_plugin.SoftLabelsHook')
        cfg.default_hooks = {'soft_labels': opens, **(cfg.get('default_hooks') or {})}
    cfg.train_dataloader = keyed  # a new dict: a validation loader may be the same object


def derive_seeds(purpose: str, *numbers: int) -> tuple[int, int, int]:
    """Seeds for `random` (64 bits), numpy (32 bits) and torch (64 bits): BLAKE2b of the purpose and the numbers.

    >>> derive_seeds('sample', 0, 1, 2) == derive_seeds('sample', 0, 1, 2) != derive_seeds('sample', 0, 2, 1)
    True
    """
    text = ' '.join(map(str, numbers)).encode()
    digest = blake2b(text, digest_size=20, person=purpose.encode()).digest()
    for_python, for_numpy, for_torch = (int.from_bytes(part, 'little')
                                        for part in (digest[:8], digest[8:12], digest[12:]))
    return for_python, for_numpy, for_torch


def seed_everything(purpose: str, *numbers: int) -> None:
    """Seed `random`, numpy's global generator, torch on the CPU, and on this process's GPU if one is in use."""
    seed = _seed_cpu(purpose, *numbers)
    if torch.cuda.is_initialized():  # otherwise torch queues one more call in every iteration
        torch.cuda.manual_seed(seed)


@contextmanager
def seeded(purpose: str, *numbers: int) -> Iterator[None]:
    """Seed `random`, numpy and torch on the CPU from the numbers, and restore their states on exit.

    Not restored is the second of a pair of Gaussians that numpy's legacy generator keeps for its next call.
    """
    python_state, torch_state = random.getstate(), torch.default_generator.get_state()
    numpy_bits = np.random.get_bit_generator()  # type: ignore[attr-defined]
    np.random.set_bit_generator(_SAMPLE_BITS)  # type: ignore[attr-defined]
    try:
        _seed_cpu(purpose, *numbers)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_bit_generator(numpy_bits)  # type: ignore[attr-defined]
        torch.default_generator.set_state(torch_state)


def _seed_cpu(purpose: str, *numbers: int) -> int:
    for_python, for_numpy, for_torch = derive_seeds(purpose, *numbers)
    random.seed(for_python)
    np.random.seed(for_numpy)  # noqa: NPY002  (transforms draw from the global generator)
    torch.default_generator.manual_seed(for_torch)
    return for_torch


def key_states(keys: Sequence[Sequence[int]] | np.ndarray) -> np.ndarray:
    """One 64-bit state for each key, from which random numbers for a whole batch are computed at once.

    ::

        state = 0;    state = mix((state xor word) + γ) for each word of the key

    ``mix`` is the finaliser of splitmix64 and γ its increment (Steele, Lea and Flood, Fast Splittable Pseudorandom
    Number Generators, OOPSLA 2014). The arithmetic uses 64-bit integers, so the result is the same on every machine.

    Args:
        keys: N keys of equally many integers in [-2⁶³, 2⁶³ - 1].

    Returns:
        (N,) uint64.
    """
    words = np.ascontiguousarray(keys, dtype=np.int64).view(np.uint64)
    states = np.zeros(len(words), dtype=np.uint64)
    for word in words.T:
        states = _mix((states ^ word) + _GAMMA)
    return states


def random_bits(states: np.ndarray, purpose: str) -> np.ndarray:
    """32 random bits for each state, as (N,) uint64; another purpose gives other bits."""
    return _mix(states ^ _stream(purpose)) >> _HALF


def random_below(states: np.ndarray, purpose: str, limit: int) -> np.ndarray:
    """A number in [0, limit - 1] for each state, (N,) int64; all have the same probability up to limit · 2⁻³².

    Args:
        states: (N,), from :func:`key_states`.
        purpose: what the number is for.
        limit: 1 … 2³¹.

    >>> random_below(key_states([(0, 0, 5, 0)]), 'crop', 1)
    array([0])
    """
    return (random_bits(states, purpose) * np.uint64(limit) >> _HALF).astype(np.int64)


@cache
def _stream(purpose: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(purpose.encode(), digest_size=8).digest(), 'little'))


def _mix(words: np.ndarray) -> np.ndarray:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
