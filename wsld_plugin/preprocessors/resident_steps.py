"""One random crop or flip each, as a change of two tables: which place every pixel comes from."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from mmcv.image import impad
from mmcv.transforms import RandomFlip
from mmpretrain.datasets.transforms import RandomCrop
from torch import Tensor
from torch.nn import functional as F

from wsld_plugin.datasets.resident_random import random_below, random_bits
from wsld_plugin.errors import ConfigError

OUTSIDE = -2**40  # added to any place, still negative


class Crop:
    """mmpretrain's ``RandomCrop``; a sample's numbers are the top and the left end in the padded image.

    Args:
        transform: the transform, whose settings are taken.
        size: height and width of what goes in; the attribute ``size`` is that of what comes out.
        name: what the random numbers are drawn for.
    """

    columns = 2

    def __init__(self, transform: RandomCrop, size: tuple[int, int], name: str) -> None:
        self.name = name
        self._pad_val = transform.pad_val
        left, top, right, bottom = _sides(transform.padding)
        height, width = size[0] + top + bottom, size[1] + left + right
        if transform.pad_if_needed:
            more_y = math.ceil(max(0, transform.crop_size[0] - height) / 2)
            more_x = math.ceil(max(0, transform.crop_size[1] - width) / 2)
            if (more_y or more_x) and transform.padding_mode != 'constant':
                raise ConfigError(f'resident data: RandomCrop(padding_mode={transform.padding_mode!r}) is not '
                                  "computed on the device, only padding_mode='constant'.")
            left, top, right, bottom = left + more_x, top + more_y, right + more_x, bottom + more_y
            height, width = height + 2 * more_y, width + 2 * more_x
        self._padding = (left, top, right, bottom)
        self.size = (min(height, transform.crop_size[0]), min(width, transform.crop_size[1]))
        self._places = (height - self.size[0] + 1, width - self.size[1] + 1)

    def fill(self, channels: int) -> np.ndarray | None:
        """The padded pixel (C, 1, 1) uint8; None without padding."""
        if not any(self._padding):
            return None
        # asked from the library: OpenCV takes a single number for the first channel alone
        pixels = impad(np.zeros((1, 1, channels), dtype=np.uint8), padding=(1, 0, 0, 0), pad_val=self._pad_val)
        return pixels.reshape(2, channels)[0].reshape(channels, 1, 1).copy()

    def draw(self, states: np.ndarray) -> tuple[np.ndarray, ...]:
        """Top and left, (N,) each."""
        return (random_below(states, f'{self.name}.top', self._places[0]),
                random_below(states, f'{self.name}.left', self._places[1]))

    def apply(self, rows: Tensor, columns: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The tables after it, from those before it and what was drawn, (N, 2).

        Their sum is the place of each pixel in the source, row · width + column, or negative for one that is filled.

        Args:
            rows: (N, h, 1); (N, h, w) where both coordinates have an influence, after a rotation.
            columns: (N, 1, w).
            numbers: (N, 2) int64.

        Returns:
            The same of the size that comes out.
        """
        left, top, right, bottom = self._padding
        height, width = self.size
        rows = _cut(rows, 1, (top, bottom), numbers[:, 0], height)
        if rows.shape[2] > 1:
            rows = _cut(rows, 2, (left, right), numbers[:, 1], width)
        return rows, _cut(columns, 2, (left, right), numbers[:, 1], width)


class Flip:
    """mmcv's ``RandomFlip``; a sample's numbers are whether it is flipped vertically and horizontally.

    Args:
        transform: the transform, whose settings are taken.
        size: height and width of what goes in and comes out.
        name: what the random numbers are drawn for.
    """

    columns = 2

    def __init__(self, transform: RandomFlip, size: tuple[int, int], name: str) -> None:
        self.name, self.size = name, size
        directions = [transform.direction] if isinstance(transform.direction, str) else list(transform.direction)
        each = transform.prob if isinstance(transform.prob, list) else \
            [transform.prob / len(directions)] * len(directions)
        self._limits = np.round(np.cumsum(each) * 2**32).astype(np.uint64)
        self._flags = np.array([[direction in ('vertical', 'diagonal'), direction in ('horizontal', 'diagonal')]
                                for direction in [*directions, None]], dtype=np.int64)

    def fill(self, channels: int) -> None:
        """Nothing is padded."""

    def draw(self, states: np.ndarray) -> tuple[np.ndarray, ...]:
        """Two flags, (N,) each."""
        flags = self._flags[np.searchsorted(self._limits, random_bits(states, self.name), side='right')]
        return flags[:, 0], flags[:, 1]

    def apply(self, rows: Tensor, columns: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The tables after it, as in :meth:`Crop.apply`; ``numbers`` (N, 2) int64."""
        vertical, horizontal = (numbers[:, :, None, None] > 0).unbind(1)
        rows = torch.where(vertical, rows.flip(1), rows)
        if rows.shape[2] > 1:
            rows = torch.where(horizontal, rows.flip(2), rows)
        return rows, torch.where(horizontal, columns.flip(2), columns)


def _sides(padding: Any) -> tuple[int, int, int, int]:
    """Left, top, right, bottom, as mmcv reads them."""
    if padding is None:
        return 0, 0, 0, 0
    first, second, *rest = (padding, padding) if isinstance(padding, int) else padding
    third, fourth = rest or (first, second)
    return first, second, third, fourth


def _cut(table: Tensor, axis: int, padding: tuple[int, int], offset: Tensor, length: int) -> Tensor:
    """``length`` places of (N, h, w) along the axis 1 or 2 from each sample's offset (N,) on, after the padding."""
    padded = F.pad(table, (0, 0, *padding) if axis == 1 else padding, value=OUTSIDE)
    chosen = offset[:, None] + torch.arange(length, device=table.device)
    if axis == 1:
        return padded.gather(1, chosen[:, :, None].expand(-1, -1, table.shape[2]))
    return padded.gather(2, chosen[:, None].expand(-1, table.shape[1], -1))
