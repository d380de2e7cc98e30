"""A random rotation whose pixels are Pillow's, as a change of the table of places."""
from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode, RandomRotation
from torchvision.transforms.functional import rotate

from wsld_plugin.datasets.resident_random import random_bits
from wsld_plugin.errors import ConfigError

from .resident_steps import OUTSIDE

_ONE = 2**16  # a pixel, in Pillow's fixed-point numbers


class Rotation:
    """torchvision's ``RandomRotation`` of a PIL image; a sample's numbers are six coefficients of Pillow's.

    The angle is uniform in ``degrees``, with 32 random bits where torchvision has the 24 of a float32.

    Args:
        transform: the transform, whose settings are taken.
        size: height and width of what goes in and comes out.
        name: what the random numbers are drawn for.

    Raises:
        ConfigError: another interpolation than the nearest pixel, ``expand``, ``center``, or a range of angles from
            which nothing can be drawn.
    """

    columns = 6

    def __init__(self, transform: RandomRotation, size: tuple[int, int], name: str) -> None:
        self.name, self.size = name, size
        for argument, given, expected in (('interpolation', transform.interpolation, InterpolationMode.NEAREST),
                                          ('expand', bool(transform.expand), False),
                                          ('center', transform.center, None)):
            if given != expected:
                shown = repr(getattr(expected, 'value', expected))
                raise ConfigError(f'resident data: RandomRotation({argument}={getattr(given, "value", given)!r}) is '
                                  f'not computed on the device, only {argument}={shown}.')
        self._low, self._high = map(float, transform.degrees)
        if not -math.inf < self._low <= self._high < math.inf:
            raise ConfigError(f'resident data: RandomRotation(degrees={transform.degrees!r}), expected the smallest '
                              'and the largest angle, in this order.')
        self._fill = transform.fill

    def fill(self, channels: int) -> np.ndarray:
        """The pixel (C, 1, 1) uint8 that Pillow puts where the image does not reach."""
        strip = np.zeros((1, 9, channels), dtype=np.uint8)
        try:
            turned = rotate(Image.fromarray(strip[..., 0] if channels == 1 else strip), 90, fill=self._fill)
        except ValueError as error:
            raise ConfigError(f'resident data: RandomRotation(fill={self._fill!r}): {error}') from error
        return np.array(turned).reshape(9, channels)[0].reshape(channels, 1, 1)

    def angles(self, states: np.ndarray) -> np.ndarray:
        """Degrees, counterclockwise, (N,)."""
        return self._low + (self._high - self._low) * (random_bits(states, self.name) / 2**32)

    def draw(self, states: np.ndarray) -> tuple[np.ndarray, ...]:
        """The six coefficients, (N,) each."""
        return tuple(coefficients(self.angles(states), self.size))

    def apply(self, rows: Tensor, columns: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The tables after it, as in :meth:`Crop.apply`; ``numbers`` (N, 6) int64. All is in the first of them."""
        height, width = self.size
        down, right = (torch.arange(length, device=rows.device) for length in self.size)
        a, b, c, d, e, f = numbers[:, :, None, None].unbind(1)
        # a frame of filled pixels, to which all is moved that lies further away
        places = F.pad(rows + columns, (1, 1, 1, 1), value=OUTSIDE)
        x = (a * right + (b * down[:, None] + (c + _ONE))) >> 16
        y = (d * right + (e * down[:, None] + (f + _ONE))) >> 16
        chosen = y.clamp_(0, height + 1).mul_(width + 2).add_(x.clamp_(0, width + 1))
        return places.flatten(1).gather(1, chosen.flatten(1)).view_as(chosen), torch.zeros_like(columns)


def coefficients(angles: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pillow's rotation about the centre, as integers, which every device adds up alike.

    The pixel in row i and column j of the result is that of the source in::

        column = (a·j + b·i + c) >> 16          row = (d·j + e·i + f) >> 16

    They are those of ``Image.rotate`` with the nearest pixel (Pillow 13, ``libImaging/Geometry.c``): sine and cosine
    are rounded to 15 digits, the shift by half a pixel is in c and f, and each number is the floor of 65536·v + ½.

    Args:
        angles: (N,) degrees, counterclockwise.
        size: height and width, below 16384; from some size above on Pillow reckons with floating point.

    Returns:
        (6, N) int64: a … f.
    """
    height, width = size
    turns = (-np.radians(angles % 360.0)).tolist()
    # not numpy's: np.round(·, 15) has another last digit for one number in twenty
    cos = np.array([round(math.cos(turn), 15) for turn in turns])
    sin = np.array([round(math.sin(turn), 15) for turn in turns])
    x, y = width / 2, height / 2
    c = (cos * -x + sin * -y) + x
    f = (-sin * -x + cos * -y) + y
    exact = np.stack([cos, sin, c + cos * 0.5 + sin * 0.5, -sin, cos, f + -sin * 0.5 + cos * 0.5])
    return np.floor(exact * _ONE + 0.5).astype(np.int64)
