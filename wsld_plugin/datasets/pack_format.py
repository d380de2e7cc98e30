"""The layout of a packed folder, and what must hold before anything is read from it."""
from __future__ import annotations

import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.files import write_atomically

FORMAT = 1
IMAGES, LABELS, META = 'images.npy', 'labels.npy', 'meta.json'

_HOW = ('Make it with `python tools/pack_dataset.py cifar100 data/cifar100` or another of its commands: '
        'docs/data.md.')
_AGAIN = 'Remove the folder and pack it again with tools/pack_dataset.py.'
_KEYS = ('format', 'classes', 'num_images', 'height', 'width', 'sha256')


class PackMeta(NamedTuple):
    """What ``meta.json`` says: class names, (num_images, height, width), SHA-256 of each array file by its name."""

    classes: tuple[str, ...]
    num_images: int
    height: int
    width: int
    sha256: dict[str, str]


class Pack:
    """One opened split: images (N, H, W, 3) uint8 mapped from disk, labels (N,) int64 in memory, meta.

    A copy of it, in this process or a worker's, opens the files again: the images themselves never travel.

    Raises:
        ConfigError: naming the folder or file that is missing, damaged, cut short or half-written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.meta = read_meta(self.folder)
        shape = (self.meta.num_images, self.meta.height, self.meta.width, 3)
        self.images = open_array(self.folder / IMAGES, np.uint8, shape)
        self.labels = np.array(open_array(self.folder / LABELS, np.int64, shape[:1]))
        check_labels(self.folder / LABELS, self.labels, len(self.meta.classes))

    def __reduce__(self) -> tuple[Any, ...]:
        return Pack, (self.folder, )


def read_meta(folder: Path) -> PackMeta:
    """``meta.json`` of a split's folder, checked; it is written last, so a folder with it was once whole.

    Raises:
        ConfigError: there is no such folder or file, or it is not of this format.
    """
    path = folder / META
    if not folder.is_dir():
        missing = next(each for each in (*reversed(folder.parents), folder) if not each.exists())
        near = os.listdir(missing.parent) if missing.parent.is_dir() else []
        raise ConfigError(f'{folder} is not a packed data set: {missing} does not exist.'
                          f'{did_you_mean(missing.name, near)} {_HOW}')
    if not path.is_file():
        arrays = all((folder / name).is_file() for name in (IMAGES, LABELS))
        what = (f'It holds {IMAGES} and {LABELS}: if these are whole, `python tools/pack_dataset.py adopt {folder} '
                '--classes NAMES.json` completes it.' if arrays else _HOW)
        raise ConfigError(f'{folder} is not a packed data set, or a half-written one: it has no {META}. {what}')
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        given = {key: found[key] for key in _KEYS}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f'{path} is damaged ({type(error).__name__}: {error}). Expected JSON with the keys '
                          f'{", ".join(_KEYS)}. {_AGAIN}') from None
    if given.pop('format') != FORMAT:
        raise ConfigError(f'{path}: format={found["format"]!r}, expected {FORMAT}. {_AGAIN}')
    meta = PackMeta(**given)
    sizes = (meta.num_images, meta.height, meta.width)
    names = meta.classes
    if not all(isinstance(size, int) and size > 0 for size in sizes) or not isinstance(names, list) or not names \
            or not all(isinstance(name, str) for name in names) or not isinstance(meta.sha256, dict):
        raise ConfigError(f'{path} is damaged: num_images, height and width must be positive numbers, classes a '
                          f'list of names, sha256 a table of files. {_AGAIN}')
    return meta._replace(classes=tuple(names))


def open_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...] | None = None,
               advice: str = _AGAIN) -> np.ndarray:
    """An array mapped from ``path``, read-only, after its type, shape and length in bytes were checked.

    Raises:
        ConfigError: naming the file and what was expected in it.
    """
    kind = f'{np.dtype(dtype)}{"" if shape is None else f" of shape {shape}"}'
    try:
        array = np.load(path, mmap_mode='r')
    except FileNotFoundError:
        raise ConfigError(f'{path} is missing: expected {kind}. {advice}') from None
    except (ValueError, EOFError, OSError) as error:
        raise ConfigError(f'{path} is damaged or cut short ({error}): expected {kind}. {advice}') from None
    if not isinstance(array, np.memmap) or array.dtype != dtype or not array.flags.c_contiguous \
            or shape not in (None, array.shape):
        raise ConfigError(f'{path} holds {getattr(array, "dtype", type(array).__name__)} of shape '
                          f'{getattr(array, "shape", None)}, expected {kind} in C order. {advice}')
    wanted, size = array.offset + array.nbytes, path.stat().st_size
    if size != wanted:
        raise ConfigError(f'{path} is damaged: {size} bytes, expected {wanted}. {advice}')
    return array.view(np.ndarray)  # memmap's own indexing costs more than the copy of a small image


def check_labels(path: Path, labels: np.ndarray, num_classes: int, advice: str = _AGAIN) -> None:
    """Refuse labels outside 0 … num_classes − 1.

    Raises:
        ConfigError: naming the file and the range that was found.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ConfigError(f'{path} holds the labels {low} … {high}, but there are {num_classes} classes: expected '
                          f'0 … {num_classes - 1}. {advice}')


def write_meta(folder: Path, classes: Sequence[str], shape: tuple[int, ...]) -> None:
    """Write ``meta.json`` beside arrays that are whole."""
    meta = dict(format=FORMAT, classes=list(classes), num_images=shape[0], height=shape[1], width=shape[2],
                sha256={name: file_hash(folder / name) for name in (IMAGES, LABELS)})
    write_atomically(folder / META, (json.dumps(meta, indent=1) + '\n').encode())


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    found = sha256()
    with path.open('rb') as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()
