"""Random crops, flips and rotations of a batch of images that live on the device."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .resident_read import read_steps


class ResidentAugment:
    """What a pipeline of mmpretrain makes of images of one size, for many images at once and on any device.

    ``RandomCrop`` (with padding, or ``pad_if_needed``), ``RandomFlip``, torchvision's ``RandomRotation`` between
    ``NumpyToPIL`` and ``PILToNumpy``, and ``PackInputs``, in any order and number. Random numbers are drawn for each
    sample from its state; their distribution is that of the transform, the numbers themselves are others. Each
    transform then changes two small tables whose sum is the place in the source for each pixel of the result, and all
    images are gathered through them in one go. A rotation makes one of the tables as large as the image.

    Args:
        transforms: the pipeline's, built.
        shape: C, H, W of the source images.
        device: where they live.

    ``columns`` is how many numbers a sample needs, ``shape`` what comes out.

    Raises:
        ConfigError: a transform, an argument or an order of them that is not computed here.
    """

    def __init__(self, transforms: Iterable[Any], shape: tuple[int, int, int], device: torch.device | str) -> None:
        self._source = shape
        self._steps, fill = read_steps(transforms, shape)
        self._fill = None if fill is None else torch.from_numpy(fill).reshape(-1, 1).to(device)
        self.shape = (shape[0], *(self._steps[-1].size if self._steps else shape[1:]))
        self.columns = sum(step.columns for step in self._steps)

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
        chosen, device = images[numbers[:, 0]], images.device
        if not self._steps:
            return chosen
        channels, height, width = self._source
        pixels = chosen.flatten(2)
        rows = (torch.arange(height, device=device) * width)[:, None].expand(len(numbers), height, 1)
        columns = torch.arange(width, device=device).expand(len(numbers), 1, width)
        if self._fill is not None:  # the filled pixel comes first, where all that is outside is moved to
            pixels = torch.cat([self._fill.expand(len(numbers), channels, 1), pixels], dim=2)
            columns = columns + 1
        drawn = numbers[:, 1:].split([step.columns for step in self._steps], dim=1)
        for step, own in zip(self._steps, drawn, strict=True):
            rows, columns = step.apply(rows, columns, own)
        places = (rows + columns).clamp_(min=0).flatten(1)
        return pixels.gather(2, places[:, None].expand(-1, channels, -1)).view(len(numbers), *self.shape)
