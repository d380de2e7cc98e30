"""A data set that is kept on the device and augmented there."""
from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import RandomFlip
from mmengine.device import get_device
from mmpretrain.datasets.transforms import NumpyToPIL, PackInputs, PILToNumpy, RandomCrop
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode, RandomRotation

from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.registry import DATASETS, FUNCTIONS

from .keyed import DatasetWrapper, SampleKey, check_key, key_states, random_below, random_bits

# The transforms that are computed on the device, by their names in a config, and the only allowed value of arguments.
_SETTINGS: dict[str, tuple[type, dict[str, Any]]] = {
    'RandomCrop': (RandomCrop, dict(pad_if_needed=False, pad_val=0)),
    'RandomFlip': (RandomFlip, {}),
    'torchvision/RandomRotation': (RandomRotation, dict(interpolation=InterpolationMode.NEAREST, expand=False,
                                                        center=None, fill=0)),
    'NumpyToPIL': (NumpyToPIL, dict(to_rgb=False)),
    'PILToNumpy': (PILToNumpy, dict(to_bgr=False, dtype=None)),
    'PackInputs': (PackInputs, dict(input_key='img', algorithm_keys=())),
}
SUPPORTED = tuple(_SETTINGS)
DRAWS_NOTHING = SUPPORTED[3:]

_CHUNK = 1024  # images that are copied at once
_KEEP = 0.8  # of the free memory; the rest is for weights, activations and other processes


@DATASETS.register_module()
class ResidentDataset(DatasetWrapper):
    """All images of a data set as one uint8 tensor on the device; batches are augmented there.

    Replaces a `KeyedDataset`: the loader's sampler is a `KeyedSampler`, its ``collate_fn`` is ``whole_batch``, and it
    has no workers. The random numbers of a sample are a hash of its key, so they are the same for any batch, number
    of ranks or device and after a resume. They have the distribution of the transforms, but are not the numbers that
    the transforms draw on the CPU.

    The pipeline may have ``RandomCrop`` with ``padding``, ``RandomFlip``, torchvision's ``RandomRotation``,
    ``NumpyToPIL``, ``PILToNumpy`` and ``PackInputs``, in any order and number. A rotation takes the nearest pixel,
    as Pillow does, but computes in float32: where two pixels are equally near it may take the other one.

    Args:
        dataset: a data set whose images are in memory, such as a `PackedDataset`, or its config.
        device: where the images are kept; None: the device of the training.

    Raises:
        ConfigError: a transform or an argument that is not supported, images that are not in memory or not of one
            size, or that do not fit into four fifths of the free memory.
    """

    def __init__(self, dataset: Any, device: torch.device | str | None = None) -> None:
        super().__init__(dataset)
        if not hasattr(self.dataset, 'pipeline') or not hasattr(self.dataset, 'get_data_info'):
            raise ConfigError(f'resident data: {type(self.dataset).__name__} has no pipeline or no get_data_info of '
                              'its own, expected a data set such as PackedDataset, not a wrapper of one.')
        self.device = torch.device(get_device() if device is None else device)
        self.images, self.labels = load_resident(self.dataset, self.device)
        self._read_pipeline()

    def __getitems__(self, keys: Sequence[SampleKey]) -> dict[str, Any]:
        """A whole batch, as torch's loader requests it: ``inputs`` (N, C, H, W) uint8 and ``data_samples``."""
        for key in keys:
            check_key(self, key)
        table = np.array(keys, dtype=np.int64)
        indices = table[:, 2:3]
        if indices.min() < 0 or indices.max() >= len(self):
            raise IndexError(f'index {indices.min()} or {indices.max()} is not in 0 … {len(self) - 1}')
        numbers = torch.from_numpy(np.concatenate([indices, self.augment.draw(key_states(table))], axis=1))
        if self.device.type == 'cuda':  # from pinned memory: the copy does not wait for the device
            numbers = numbers.pin_memory().to(self.device, non_blocking=True)
        places = numbers[:, 0]
        samples = [_data_sample(label, sample_key=key, sample_idx=key.index)
                   for label, key in zip(self.labels[places].split(1), keys, strict=True)]
        return dict(inputs=self.augment(self.images[places], numbers[:, 1:]), data_samples=samples)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        batch = self.__getitems__([key])
        return {field: values[0] for field, values in batch.items()}

    @property
    def pipeline(self) -> Any:
        """The pipeline of the wrapped data set; can be set to another supported one."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        self.dataset.pipeline = pipeline
        self._read_pipeline()

    def _read_pipeline(self) -> None:
        height, width = self.images.shape[2:]
        self.augment = ResidentAugment(self.pipeline.transforms, (height, width))


@FUNCTIONS.register_module()
def whole_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """The ``collate_fn`` of a resident data set, which makes whole batches itself."""
    return batch


def _data_sample(label: Tensor, **metainfo: Any) -> DataSample:
    # set_field would check each field, at several times the cost
    sample = DataSample.__new__(DataSample)
    vars(sample).update(_metainfo_fields=set(metainfo), _data_fields={'gt_label'}, gt_label=label, **metainfo)
    return sample


class ResidentAugment:
    """The random transforms of a pipeline of mmpretrain, for a batch of images of one size, on any device.

    Args:
        transforms: those of the pipeline, built.
        size: height and width of the images.

    Raises:
        ConfigError: a transform or an argument that is not supported.
    """

    def __init__(self, transforms: Iterable[Any], size: tuple[int, int]) -> None:
        named = [_named(transform) for transform in transforms]
        check_supported([name for name, _ in named])
        self._steps: list[_Crop | _Flip | _Rotation] = []
        for place, (name, transform) in enumerate(named):
            for argument, allowed in _SETTINGS[name][1].items():
                given = getattr(transform, argument)
                if given != allowed:
                    raise ConfigError(f'resident data: {name}({argument}={getattr(given, "value", given)!r}), '
                                      f'expected {getattr(allowed, "value", allowed)!r}, the only value that the '
                                      'device computes. Change it, or load the data as usual.')
            if name not in DRAWS_NOTHING:
                kind: Any = {RandomCrop: _Crop, RandomFlip: _Flip, RandomRotation: _Rotation}[type(transform)]
                self._steps.append(kind(transform, size, f'{place}.{type(transform).__name__}'))
                size = self._steps[-1].size

    def draw(self, states: np.ndarray) -> np.ndarray:
        """The random numbers (N, k) int64 of N samples with these states, from :func:`key_states`."""
        drawn = [column for step in self._steps for column in step.draw(states)]
        return np.stack(drawn, axis=1) if drawn else np.empty((len(states), 0), dtype=np.int64)

    def __call__(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Augment images (N, C, H, W) uint8 to (N, C, h, w) with their random numbers, without a device sync."""
        for step in self._steps:
            own, numbers = numbers[:, :step.columns], numbers[:, step.columns:]
            images = step(images, own)
        return images


class _Crop:
    """mmpretrain's ``RandomCrop``. Numbers of a sample: top and left in the padded image."""

    columns = 2

    def __init__(self, transform: RandomCrop, size: tuple[int, int], purpose: str) -> None:
        self._purpose, padding = purpose, transform.padding or 0
        first, second, *rest = (padding, padding) if isinstance(padding, int) else padding
        third, fourth = rest or (first, second)
        self._padding = (first, third, second, fourth)  # left, right, top, bottom, as F.pad expects them
        height, width = size[0] + second + fourth, size[1] + first + third
        self.size = (min(height, transform.crop_size[0]), min(width, transform.crop_size[1]))
        self._limits = (height - self.size[0] + 1, width - self.size[1] + 1)

    def draw(self, states: np.ndarray) -> list[np.ndarray]:
        return [random_below(states, f'{self._purpose}.{side}', limit)
                for side, limit in zip(('top', 'left'), self._limits, strict=True)]

    def __call__(self, images: Tensor, numbers: Tensor) -> Tensor:
        rows, columns = (numbers[:, axis, None] + torch.arange(length, device=images.device)
                         for axis, length in enumerate(self.size))
        samples, channels = (torch.arange(length, device=images.device) for length in images.shape[:2])
        return F.pad(images, self._padding)[samples[:, None, None, None], channels[:, None, None],
                                            rows[:, None, :, None], columns[:, None, None]]


class _Flip:
    """mmcv's ``RandomFlip``. Numbers of a sample: flipped vertically, flipped horizontally."""

    columns = 2

    def __init__(self, transform: RandomFlip, size: tuple[int, int], purpose: str) -> None:
        self._purpose, self.size = purpose, size
        directions = [transform.direction] if isinstance(transform.direction, str) else list(transform.direction)
        each = transform.prob if isinstance(transform.prob, list) else \
            [transform.prob / len(directions)] * len(directions)
        self._limits = np.round(np.cumsum(each) * 2**32).astype(np.uint64)
        self._flags = np.array([[direction in ('vertical', 'diagonal'), direction in ('horizontal', 'diagonal')]
                                for direction in [*directions, None]], dtype=np.int64)

    def draw(self, states: np.ndarray) -> list[np.ndarray]:
        return list(self._flags[np.searchsorted(self._limits, random_bits(states, self._purpose), side='right')].T)

    def __call__(self, images: Tensor, numbers: Tensor) -> Tensor:
        for axis in (0, 1):
            images = torch.where(numbers[:, axis, None, None, None] > 0, images.flip(2 + axis), images)
        return images


class _Rotation:
    """torchvision's ``RandomRotation`` about the centre, filled with 0. Number of a sample: 32 bits for the angle."""

    columns = 1

    def __init__(self, transform: RandomRotation, size: tuple[int, int], purpose: str) -> None:
        self._purpose, self.size = purpose, size
        self._low, self._high = map(float, transform.degrees)
        if not -math.inf < self._low <= self._high < math.inf:
            raise ConfigError(f'resident data: RandomRotation(degrees={transform.degrees!r}), expected the smallest '
                              'and the largest angle, in this order.')

    def draw(self, states: np.ndarray) -> list[np.ndarray]:
        return [random_bits(states, self._purpose).astype(np.int64)]

    def __call__(self, images: Tensor, numbers: Tensor) -> Tensor:
        angle = torch.deg2rad(self._low + (self._high - self._low) * (numbers[:, 0].float() / 2**32))
        cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
        height, width = images.shape[2:]
        # pixel centres relative to that of the image; no matrix product, which TF32 would round
        y, x = (torch.arange(length, device=images.device) - (length - 1) / 2 for length in (height, width))
        y, x = y[:, None], x[None]
        grid = torch.stack([(cos * x - sin * y) * (2 / width), (sin * x + cos * y) * (2 / height)], dim=-1)
        return F.grid_sample(images.float(), grid, mode='nearest', padding_mode='zeros',
                             align_corners=False).to(images.dtype)


def check_supported(names: Sequence[str]) -> None:
    """Raise ConfigError if a pipeline, given by the names in a config, has a transform that is not supported."""
    others = [name for name in names if without_scope(name) not in SUPPORTED]
    if others:
        raise ConfigError(f'resident data: the training pipeline has {", ".join(others)}, which the device does not '
                          f'compute. Supported are {", ".join(SUPPORTED)}, and images that are in memory as in a '
                          'PackedDataset. Leave the others out of the pipeline, or load the data as usual.'
                          + did_you_mean(others[0], SUPPORTED))


def without_scope(name: str) -> str:
    """A transform's name in a config without the library before it.

    >>> without_scope('mmpretrain.torchvision/RandomRotation')
    'torchvision/RandomRotation'
    """
    return name.removeprefix('mmpretrain.').removeprefix('mmcv.')


def _named(transform: Any) -> tuple[str, Any]:
    """The name in a config and the transform; for a class that is not supported, its full path."""
    inner = getattr(transform, 't', transform)  # mmpretrain wraps torchvision's
    for name, (kind, _) in _SETTINGS.items():
        if type(inner) is kind and (inner is not transform) == name.startswith('torchvision/'):
            return name, inner
    return f'{type(inner).__module__}.{type(inner).__name__}', inner


def load_resident(dataset: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Copy a data set to a device: images (N, C, H, W) uint8 and labels (N,) int64.

    Args:
        dataset: its ``get_data_info`` returns ``img`` (H, W, C) or (H, W) uint8, all of one shape, and ``gt_label``.
        device: where to.

    Raises:
        ConfigError: there are no such images, or they do not fit into the free memory.
    """
    count, kind = len(dataset), type(dataset).__name__
    first = _image(dataset.get_data_info(0), kind)
    height, width, channels = first.shape
    needed, free = count * (first.nbytes + 8), free_memory(device)
    if needed > _KEEP * free:
        raise ConfigError(f'resident data: {count} images of {height}×{width}×{channels} bytes need '
                          f'{needed / 2**30:.3g} GiB on {device}, which has {free / 2**30:.3g} GiB free, and a fifth '
                          'of that is reserved for training. Use fewer with num_samples, pack them smaller, or load '
                          'the data as usual.')
    images = torch.empty((count, channels, height, width), dtype=torch.uint8, device=device)
    labels = np.empty(count, dtype=np.int64)
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        chunk = np.empty((stop - start, *first.shape), dtype=np.uint8)
        for index in range(start, stop):
            info = dataset.get_data_info(index)
            image, label = _image(info, kind), np.asarray(info.get('gt_label'))
            if image.shape != first.shape:
                raise ConfigError(f'resident data: image {index} of {kind} has shape {image.shape}, but image 0 has '
                                  f'{first.shape}; all must be alike. Pack them to one size: docs/data.md.')
            if label.dtype.kind not in 'iu' or label.size != 1:
                raise ConfigError(f'resident data: gt_label of sample {index} is {info.get("gt_label")!r}, expected '
                                  'one class index.')
            chunk[index - start], labels[index] = image, label.item()
        images[start:stop] = torch.from_numpy(chunk).to(device).permute(0, 3, 1, 2)
    return images, torch.from_numpy(labels).to(device)


def _image(info: Mapping[str, Any], kind: str) -> np.ndarray:
    image = info.get('img')
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3):
        given = f'{image.dtype} of shape {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
        raise ConfigError(f"resident data: the 'img' of {kind} is {given}, expected (H, W, C) uint8 in memory. Pack "
                          'the data set first: tools/pack_dataset.py, docs/data.md.')
    return image if image.ndim == 3 else image[..., None]


def free_memory(device: torch.device | str) -> int:
    """Free bytes of a device."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.mem_get_info(device)[0]
    table = Path('/proc/meminfo')
    if table.is_file():
        # includes what the system would release, such as pages of the packed file itself
        for line in table.read_text().splitlines():
            if line.startswith('MemAvailable:'):
                return int(line.split()[1]) * 1024
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
