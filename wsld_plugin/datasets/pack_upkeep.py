"""What is done with packed folders after packing: adopting, opening and verifying them."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from wsld_plugin.errors import ConfigError

from .pack_format import IMAGES, LABELS, META, Pack, check_labels, file_hash, open_array, write_meta


def adopt(folder: Path, classes_file: Path) -> None:
    """Make a packed split of a folder that holds ``images.npy`` and ``labels.npy``: only ``meta.json`` is written.

    Args:
        folder: with images (N, H, W, 3) uint8 in RGB and labels (N,) int64.
        classes_file: JSON, the list of names, label 0 first.

    Raises:
        ConfigError: no such list, arrays of another kind, labels outside the classes, a folder that was packed.
    """
    if (folder / META).exists():
        raise ConfigError(f'{folder} has its {META} already: check it with `python tools/pack_dataset.py verify '
                          f'{folder}`.')
    try:
        classes = json.loads(classes_file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ConfigError(f'{classes_file} cannot be read ({error}).') from None
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise ConfigError(f'{classes_file} must be a list of names, label 0 first: ["apple", "bear"].')
    advice = f'Nothing was changed. Name the folder of one split, and mend its arrays or {classes_file}.'
    images = open_array(folder / IMAGES, np.uint8, advice=advice)
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise ConfigError(f'{folder / IMAGES} has the shape {images.shape}, expected (N, H, W, 3).')
    labels = open_array(folder / LABELS, np.int64, images.shape[:1], advice)
    check_labels(folder / LABELS, labels, len(classes), advice)
    write_meta(folder, classes, images.shape)


def opened(folder: Path) -> list[Pack]:
    """Every split in ``folder``, or the split that it is, opened.

    Raises:
        ConfigError: there is none, or one is damaged.
    """
    return [Pack(split) for split in _splits_of(folder)]


def verify(folder: Path) -> list[Pack]:
    """Every split in ``folder``, or the split that it is, with its SHA-256 computed again.

    Raises:
        ConfigError: naming every file whose bytes are not those that were packed.
    """
    whole = opened(folder)
    wrong = [str(split.folder / name) for split in whole for name in (IMAGES, LABELS)
             if file_hash(split.folder / name) != split.meta.sha256.get(name)]
    if wrong:
        raise ConfigError(f'{", ".join(wrong)}: damaged, the SHA-256 is not that of {META}. Remove the folder and '
                          'pack it again.')
    return whole


def _splits_of(folder: Path) -> list[Path]:
    if not (folder / META).exists() and folder.is_dir():
        inside = sorted(path.parent for path in folder.glob(f'[!.]*/{META}'))
        if inside:
            return inside
    return [folder]
