"""Images and labels of a whole data set, copied to a device that has room for them."""
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsld_plugin.errors import ConfigError

_CHUNK = 1024  # images that are copied at once
_KEEP = 0.8  # of the free memory; the rest is for weights, activations and what others take


def load_resident(dataset: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Copy a data set to a device.

    Args:
        dataset: one of mmpretrain's, whose ``get_data_info`` gives ``img`` (H, W, C) or (H, W) uint8, all of one
            shape, and an integer ``gt_label``.
        device: where to.

    Returns:
        Images (N, C, H, W) uint8 and labels (N,) int64.

    Raises:
        ConfigError: there are no such images, or they do not fit into the memory that is free.
    """
    count, kind = len(dataset), type(dataset).__name__
    first = _image(dataset.get_data_info(0), kind)
    height, width, channels = first.shape
    check_fits(count * (first.nbytes + 8), free_memory(device), device, f'{count} images of '
               f'{height}×{width}×{channels} bytes')
    images = torch.empty((count, channels, height, width), dtype=torch.uint8, device=device)
    labels = np.empty(count, dtype=np.int64)
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        chunk = np.empty((stop - start, *first.shape), dtype=np.uint8)
        for index in range(start, stop):
            info = dataset.get_data_info(index)
            image = _image(info, kind)
            if image.shape != first.shape:
                raise ConfigError(f'resident data: image {index} of {kind} has shape {image.shape}, but image 0 has '
                                  f'{first.shape}; all must be alike. Pack them to one size: docs/data.md.')
            chunk[index - start], labels[index] = image, _label(info, index)
        images[start:stop] = torch.from_numpy(chunk).to(device).permute(0, 3, 1, 2)
    return images, torch.from_numpy(labels).to(device)


def check_fits(needed: int, free: int, device: torch.device | str, what: str) -> None:
    """Refuse what needs more than four fifths of the free memory.

    Args:
        needed: bytes.
        free: bytes.
        device: in the message.
        what: in the message, a plural.

    Raises:
        ConfigError: with both sizes.
    """
    if needed > _KEEP * free:
        raise ConfigError(f'resident data: {what} need {needed / 2**30:.3g} GiB on {device}, which has '
                          f'{free / 2**30:.3g} GiB free, and a fifth of that is left to the training. Take fewer '
                          'with num_samples, pack them smaller, or load the data as usual.')


def free_memory(device: torch.device | str) -> int:
    """Bytes that a device has free now."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.mem_get_info(device)[0]
    table = Path('/proc/meminfo')
    if table.is_file():
        # also counts what the system would give back, such as pages of the packed file itself
        for line in table.read_text().splitlines():
            if line.startswith('MemAvailable:'):
                return int(line.split()[1]) * 1024
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def _image(info: Mapping[str, Any], kind: str) -> np.ndarray:
    image = info.get('img')
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3):
        given = f'{image.dtype} of shape {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
        raise ConfigError(f"resident data: the 'img' of {kind} is {given}, expected (H, W, C) uint8 in memory. Pack "
                          'the data set first: tools/pack_dataset.py, docs/data.md.')
    return image if image.ndim == 3 else image[..., None]


def _label(info: Mapping[str, Any], index: int) -> int:
    label = info.get('gt_label')
    array = np.asarray(label)
    if array.dtype.kind not in 'iu' or array.size != 1:
        raise ConfigError(f'resident data: gt_label of sample {index} is {label!r}, expected one class index.')
    return array.item()
