"""A pipeline of mmpretrain, read as the steps that a device can compute."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import RandomFlip
from mmpretrain.datasets.transforms import NumpyToPIL, PackInputs, PILToNumpy, RandomCrop
from torchvision.transforms import RandomRotation

from wsld_plugin.errors import ConfigError, did_you_mean

from .resident_rotation import Rotation
from .resident_steps import Crop, Flip

Step = Crop | Flip | Rotation

_STEPS: dict[type, Callable[[Any, tuple[int, int], str], Step]] = {
    RandomCrop: Crop, RandomFlip: Flip, RandomRotation: Rotation}
_ROTATION = 'torchvision/RandomRotation'
SUPPORTED = ('RandomCrop', 'RandomFlip', _ROTATION, 'NumpyToPIL', 'PILToNumpy', 'PackInputs')
DRAWS_NOTHING = ('NumpyToPIL', 'PILToNumpy', 'PackInputs')


def read_steps(transforms: Iterable[Any], shape: tuple[int, int, int]) -> tuple[list[Step], np.ndarray | None]:
    """The steps of a pipeline, and what it fills with.

    Args:
        transforms: built.
        shape: C, H, W of what goes in.

    Returns:
        The steps in order, and the filled pixel (C, 1, 1) uint8 or None.

    Raises:
        ConfigError: a transform, an argument or an order of them that is not computed on the device.
    """
    named = [_named(transform) for transform in transforms]
    check_supported([name for name, _ in named])
    channels, height, width = shape
    size = (height, width)
    steps: list[Step] = []
    fills: list[np.ndarray] = []
    pil: NumpyToPIL | None = None  # that made a PIL image of what comes now
    for place, (name, transform) in enumerate(named):
        if (pil is not None) != (name in (_ROTATION, 'PILToNumpy')):
            raise ConfigError(f'resident data: {name} is given {"an array" if pil is None else "a PIL image"}. Put '
                              f'NumpyToPIL before and PILToNumpy behind {_ROTATION}, and nothing else between them.')
        if name == 'NumpyToPIL':
            pil = transform
            _check_channels(pil, channels)
        elif name == 'PILToNumpy':
            _check_pair(pil, transform)
            pil = None
        elif name == 'PackInputs':
            _check_pack(transform)
        else:
            step = _STEPS[type(transform)](transform, size, f'{place}.{type(transform).__name__}')
            size, fill = step.size, step.fill(channels)
            steps.append(step)
            if fill is not None:
                fills.append(fill[::-1] if pil is not None and pil.to_rgb else fill)
    if pil is not None:
        raise ConfigError('resident data: the pipeline has a NumpyToPIL without a PILToNumpy behind it. Add one.')
    if any((fill != fills[0]).any() for fill in fills):
        raise ConfigError('resident data: the pipeline fills with different values, '
                          f'{", ".join(str(fill.ravel().tolist()) for fill in fills)}. Give all RandomCrops and '
                          'RandomRotations the same pad_val and fill, for every channel.')
    return steps, fills[0].copy() if fills else None


def check_supported(names: Sequence[str]) -> None:
    """Refuse a pipeline with transforms that are not computed on the device; names as in a config.

    Raises:
        ConfigError: naming them, and those that are.
    """
    others = [name for name in names if without_scope(name) not in SUPPORTED]
    if others:
        raise ConfigError(f'resident data: the training pipeline has {", ".join(others)}, which the device does not '
                          f'compute. Supported are {", ".join(SUPPORTED)}, and images that are in memory as in a '
                          'PackedDataset. Leave the others out of the pipeline, or load the data as usual.'
                          + did_you_mean(others[0], SUPPORTED))


def without_scope(name: str) -> str:
    """The name of a transform in a config without the library in front of it.

    >>> without_scope('mmpretrain.torchvision/RandomRotation')
    'torchvision/RandomRotation'
    """
    return name.removeprefix('mmpretrain.').removeprefix('mmcv.')


def _named(transform: Any) -> tuple[str, Any]:
    """The name in a config and the transform; for a class that only shares a name, its full path."""
    inner = getattr(transform, 't', None)  # of mmpretrain's wrapper around torchvision's
    if type(inner).__module__.startswith('torchvision.transforms.'):
        return f'torchvision/{type(inner).__name__}', inner
    kind = type(transform)
    known = kind in (RandomCrop, RandomFlip, NumpyToPIL, PILToNumpy, PackInputs)
    return kind.__name__ if known else f'{kind.__module__}.{kind.__name__}', transform


def _check_channels(first: NumpyToPIL, channels: int) -> None:
    if channels not in ((3,) if first.to_rgb else (1, 3)):
        raise ConfigError(f'resident data: NumpyToPIL(to_rgb={first.to_rgb}) of images with {channels} channels, '
                          'expected 3, or 1 with to_rgb=False.')


def _check_pair(first: NumpyToPIL | None, second: PILToNumpy) -> None:
    if first is not None and bool(first.to_rgb) != bool(second.to_bgr):
        raise ConfigError(f'resident data: NumpyToPIL(to_rgb={first.to_rgb}) and PILToNumpy(to_bgr={second.to_bgr}) '
                          'leave the channels in another order, expected the same value twice. The data '
                          "preprocessor's to_rgb turns them round.")
    if second.dtype is not None and np.dtype(second.dtype) != np.uint8:
        raise ConfigError(f'resident data: PILToNumpy(dtype={second.dtype!r}), expected None: images on the device '
                          'are uint8.')


def _check_pack(transform: PackInputs) -> None:
    if transform.input_key != 'img' or transform.algorithm_keys:
        raise ConfigError(f'resident data: PackInputs(input_key={transform.input_key!r}, '
                          f"algorithm_keys={transform.algorithm_keys!r}), expected input_key='img' and no "
                          'algorithm_keys: only images and labels live on the device.')
