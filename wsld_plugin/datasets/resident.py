"""A data set that lives on the device, augmentation included."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine import registry as root
from mmengine.device import get_device
from torch import Tensor

from wsld_plugin.errors import ConfigError
from wsld_plugin.preprocessors.resident_augment import ResidentAugment
from wsld_plugin.registry import DATASETS

from .keyed import SampleKey
from .resident_batch import ResidentBatch
from .resident_memory import load_resident
from .resident_random import key_states


@DATASETS.register_module()
class ResidentDataset:
    """All images of a data set as one uint8 tensor on the device; batches are made there.

    It takes the place of a `KeyedDataset`: the loader's sampler is a `KeyedSampler`, its ``collate_fn`` is
    ``whole_batch``, and it has no workers. A batch of keys becomes a `ResidentBatch`. What is drawn for a sample is a
    hash of its key (seed, epoch, index, repeat), so it is the same for any batch, number of ranks or device and after
    a resume. It has the distribution of the transforms, but not the numbers that they would draw on the CPU.
    Everything else is the wrapped data set's own: attributes are passed through.

    Args:
        dataset: a data set whose images are in memory, such as a `PackedDataset`, or its config. Its pipeline is read
            by :class:`wsld_plugin.preprocessors.resident_augment.ResidentAugment`, which tells what is supported.
        device: where to; None: where the training is.

    Raises:
        ConfigError: a transform that is not computed on the device, images that are not in memory or not of one size,
            or more of them than fit.
    """

    def __init__(self, dataset: Any, device: torch.device | str | None = None) -> None:
        self.dataset = root.DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        if not hasattr(self.dataset, 'pipeline') or not hasattr(self.dataset, 'get_data_info'):
            raise ConfigError(f'resident data: {type(self.dataset).__name__} has no pipeline or no get_data_info of '
                              'its own, expected a data set such as PackedDataset, not a wrapper of one.')
        self.device = torch.device(get_device() if device is None else device)
        self.images, self.labels = load_resident(self.dataset, self.device)
        self._read_pipeline()

    def __getitems__(self, keys: Sequence[SampleKey]) -> ResidentBatch:
        """A whole batch; torch's loader asks for it in one call."""
        for key in keys:
            if not isinstance(key, SampleKey):
                raise TypeError(f'ResidentDataset[{key!r}]: expected a SampleKey. Its loader needs sampler='
                                "dict(type='wsld_plugin.KeyedSampler', sampler=dict(type='DefaultSampler', ...)).")
        table = np.array(keys, dtype=np.int64)
        indices = table[:, 2:3]
        if indices.min() < 0 or indices.max() >= len(self):
            raise IndexError(f'index {indices.min()} or {indices.max()} is not in 0 … {len(self) - 1}')
        numbers = torch.from_numpy(np.concatenate([indices, self.augment.draw(key_states(table))], axis=1))
        if self.device.type == 'cuda':  # from pinned memory: the copy waits for no step
            numbers = numbers.pin_memory().to(self.device, non_blocking=True)
        return ResidentBatch(self, numbers, keys)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        batch = self.__getitems__([key])
        return {field: batch[field][0] for field in batch}

    def __len__(self) -> int:
        return len(self.labels)

    def images_of(self, numbers: Tensor) -> Tensor:
        """The augmented images (N, C, h, w) uint8 of a batch's numbers."""
        return self.augment(self.images, numbers)

    def labels_of(self, numbers: Tensor) -> Tensor:
        """The labels (N,) int64 of a batch's numbers."""
        return self.labels[numbers[:, 0]]

    # mmpretrain's SwitchRecipeHook sets it in the middle of a run
    @property
    def pipeline(self) -> Any:
        """The pipeline of the wrapped data set; one that takes its place must be supported too."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        self.dataset.pipeline = pipeline
        self._read_pipeline()

    def _read_pipeline(self) -> None:
        channels, height, width = self.images.shape[1:]
        self.augment = ResidentAugment(self.pipeline.transforms, (channels, height, width), self.device)

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset' or name.startswith('__'):  # not there yet
            raise AttributeError(name)
        return getattr(self.dataset, name)
