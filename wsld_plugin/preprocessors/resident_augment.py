"""Random crops and flips of a batch of images that live on the device."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import RandomFlip
from mmpretrain.datasets.transforms import PackInputs, RandomCrop
from torch import Tensor

from wsld_plugin.errors import ConfigError, did_you_mean

from .resident_steps import OUTSIDE, Crop, Flip

SUPPORTED = ('RandomCrop', 'RandomFlip', 'PackInputs')


class ResidentAugment:
    """What a pipeline of mmpretrain makes of images of one size, for many images at once and on any device.

    ``RandomCrop`` (with padding, or ``pad_if_needed``), ``RandomFlip`` and ``PackInputs``, in any order and number.
    A random number is drawn for each sample from its state; its distribution is that of the transform, the number
    itself is another one. Each transform then changes two small tables, the row and the column of the source for each
    pixel of the result, and all images are gathered through them in one go.

    Args:
        transforms: the pipeline's, built.
        shape: C, H, W of the source images.
        device: where they live.

    ``columns`` is how many numbers a sample needs, ``shape`` what comes out.

    Raises:
        ConfigError: a transform, or an argument of one, that is not computed here.
    """

    def __init__(self, transforms: Iterable[Any], shape: tuple[int, int, int], device: torch.device | str) -> None:
        transforms = list(transforms)
        check_supported([_name(type(transform)) for transform in transforms])
        self._source = shape
        self._steps: list[Crop | Flip] = []
        fills = []
        for place, transform in enumerate(transforms):
            step = _READERS[type(transform)](transform, shape[1:], f'{place}.{type(transform).__name__}')
            if step is not None:
                self._steps.append(step)
                shape = (shape[0], *step.size)
                fills.append(step.fill(shape[0]))
        self.shape = shape
        self.columns = 2 * len(self._steps)
        self._fill = _common(fills, device)

    def draw(self, states: np.ndarray) -> np.ndarray:
        """The random numbers (N, columns) int64 of N samples with these states."""
        drawn = [column for step in self._steps for column in step.draw(states)]
        return np.stack(drawn, axis=1) if drawn else np.empty((len(states), 0), dtype=np.int64)

    def __call__(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Gather and augment, without a wait for the device and with the same operations for every batch.

        Args:
            images: all of them, (M, C, H, W) uint8.
            numbers: (N, 1 + columns) int64 on the same device: the place of the image, then what was drawn.

        Returns:
            (N, C, h, w) uint8.
        """
        chosen = numbers[:, 0]
        if not self._steps:
            return images[chosen]
        channels, height, width = self._source
        device, n = images.device, len(numbers)
        rows = torch.arange(height, device=device).expand(n, height)
        columns = torch.arange(width, device=device).expand(n, width)
        for place, step in enumerate(self._steps):
            rows, columns = step.apply(rows, columns, numbers[:, 1 + 2 * place:3 + 2 * place])
        found = images[chosen[:, None, None, None], torch.arange(channels, device=device)[:, None, None],
                       rows.clamp(min=0)[:, None, :, None], columns.clamp(min=0)[:, None, None, :]]
        if self._fill is None:
            return found
        inside = (rows != OUTSIDE)[:, None, :, None] & (columns != OUTSIDE)[:, None, None, :]
        return torch.where(inside, found, self._fill)


def check_supported(names: Sequence[str]) -> None:
    """Refuse a pipeline with transforms that are not computed on the device; names as in a config.

    Raises:
        ConfigError: naming them, and those that are.
    """
    others = [name for name in names if name.removeprefix('mmpretrain.').removeprefix('mmcv.') not in SUPPORTED]
    if others:
        raise ConfigError(f'resident data: the training pipeline has {", ".join(others)}, which the device does not '
                          f'compute. Supported are {", ".join(SUPPORTED)}, and images that are in memory as in a '
                          'PackedDataset. Leave the others out of the pipeline, or load the data as usual.'
                          + did_you_mean(others[0], SUPPORTED))


def _read_pack(transform: PackInputs, size: tuple[int, int], name: str) -> None:
    if transform.input_key != 'img' or transform.algorithm_keys:
        raise ConfigError(f'resident data: PackInputs(input_key={transform.input_key!r}, '
                          f"algorithm_keys={transform.algorithm_keys!r}), expected input_key='img' and no "
                          'algorithm_keys: only images and labels live on the device.')


_READERS: dict[type, Callable[[Any, tuple[int, int], str], Any]] = {
    RandomCrop: Crop, RandomFlip: Flip, PackInputs: _read_pack}


def _name(kind: type) -> str:
    """The name in a config; for a class that only shares one, its full path."""
    return kind.__name__ if kind in _READERS else f'{kind.__module__}.{kind.__name__}'


def _common(fills: Sequence[np.ndarray | None], device: torch.device | str) -> Tensor | None:
    given = [fill for fill in fills if fill is not None]
    if any((fill != given[0]).any() for fill in given):
        raise ConfigError('resident data: the RandomCrops of the pipeline pad with different values. Give them '
                          'the same pad_val.')
    return torch.from_numpy(given[0]).to(device) if given else None
