"""Packed folders: the images of a split in one array, mapped from disk, without decoding or a copy per worker."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import force_full_init
from mmpretrain.datasets import BaseDataset

from wsld_plugin.checksums import CheckedRows, file_checksums, file_hash, sealed, unsealed
from wsld_plugin.errors import ConfigError, check_choice, check_integer, did_you_mean
from wsld_plugin.files import from_json, to_json, write_atomically
from wsld_plugin.registry import DATASETS

IMAGES, LABELS, META = 'images.npy', 'labels.npy', 'meta.json'

_FORMAT = 1
_HOW = 'Make it with `python tools/pack_dataset.py cifar100 data/cifar100` or another of its commands: docs/data.md.'
_AGAIN = 'Remove the folder and pack it again with tools/pack_dataset.py.'
_SIZES = ('num_images', 'height', 'width')
_KEYS = ('format', 'classes', *_SIZES, 'sha256')


@DATASETS.register_module()
class PackedDataset(BaseDataset):
    """Images of one size in one array, as ``tools/pack_dataset.py`` writes them.

    ``data_root/split`` holds ``images.npy`` (N, H, W, 3) uint8 in RGB, ``labels.npy`` (N,) int64 and ``meta.json``
    with the names of the classes. The images are mapped, not loaded: workers and ranks share the pages of one file. A
    sample is ``img`` (H, W, 3) uint8, a copy that transforms may modify, and ``gt_label``.

    Opening checks the existence, types, shapes and lengths of the files, the labels, and each block of images when
    one of them is first read.

    Args:
        data_root: the packed folder.
        split: its sub-folder, ``'train'``, ``'test'``, …
        num_samples: use only the first ``num_samples``; None: all. ``indices`` counts within them.
        channel_order: ``'rgb'`` returns the images as stored, as mmpretrain's CIFAR sets do: for a
            ``data_preprocessor`` with ``to_rgb=False`` and an RGB mean. ``'bgr'`` reverses the channels, as
            ``LoadImageFromFile`` returns them: for one with ``to_rgb=True``, such as mmpretrain's ImageNet configs.
            The wrong one trains a network on swapped colours without any other sign.
        **kwargs: as for any mmpretrain data set (``pipeline``, ``test_mode``, ``classes``, …).

    Raises:
        ConfigError: a folder or file is missing, damaged or incomplete; an unknown ``channel_order``; a
            ``num_samples`` that the split does not have; ``classes`` of another number.
    """

    def __init__(self, data_root: str, split: str = 'train', num_samples: int | None = None,
                 channel_order: str = 'rgb', **kwargs: Any) -> None:
        check_choice('PackedDataset: channel_order', channel_order, ('rgb', 'bgr'))
        self.split = split
        self.num_samples = num_samples
        self.channel_order = channel_order
        kwargs.setdefault('ann_file', '')
        # a sample is an index into the arrays: nothing to serialise
        super().__init__(data_root=data_root, **{**kwargs, 'serialize_data': False})

    def load_data_list(self) -> range:
        """The indices of the samples in the arrays."""
        self.pack = Pack(Path(self.data_root).expanduser() / self.split)
        count, known = len(self.pack.labels), tuple(self.pack.meta['classes'])
        if len(self._metainfo.setdefault('classes', known)) != len(known):
            raise ConfigError(f'PackedDataset(classes=…) names {len(self._metainfo["classes"])} classes, but '
                              f'{self.pack.folder} has {len(known)}.')
        if self.num_samples is not None:
            check_integer(f'PackedDataset(split={self.split!r}): num_samples', self.num_samples, 1, count)
        return range(count)[:self.num_samples]

    @force_full_init
    def get_data_info(self, idx: int) -> dict[str, Any]:
        """The sample before the pipeline."""
        row = self.data_list[idx]
        image = self.pack.images[row]
        return dict(img=image.copy() if self.channel_order == 'rgb' else np.ascontiguousarray(image[..., ::-1]),
                    gt_label=int(self.pack.labels[row]), sample_idx=idx if idx >= 0 else len(self) + idx)

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """The labels (N,), without reading an image."""
        return self.pack.labels[np.asarray(self.data_list, dtype=np.int64)]

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of one sample, without reading its image."""
        return [int(self.pack.labels[self.data_list[idx]])]

    def extra_repr(self) -> list[str]:
        """The folder and the channel order."""
        return [f'Packed folder: \t{Path(self.data_root) / self.split}', f'Channel order: \t{self.channel_order}']


class Pack:
    """An opened split: images (N, H, W, 3) uint8 mapped from disk, labels (N,) int64 in memory, and ``meta.json``.

    A copy, in this process or in a worker, opens the files again: the images themselves are never copied.

    Raises:
        ConfigError: with the folder or file that is missing, damaged, truncated or incomplete.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.meta = _read_meta(self.folder)
        shape = (*(self.meta[key] for key in _SIZES), 3)
        self.images = CheckedRows(open_array(self.folder / IMAGES, np.uint8, shape), self.meta['blocks'],
                                  self.folder / IMAGES, _AGAIN)
        self.labels = np.array(open_array(self.folder / LABELS, np.int64, shape[:1]))
        check_labels(self.folder / LABELS, self.labels, len(self.meta['classes']))
        if self.meta['sha256'].get(LABELS) != file_hash(self.folder / LABELS):
            raise ConfigError(f'{self.folder / LABELS} is damaged: its SHA-256 is not that of {META}. {_AGAIN}')

    def __reduce__(self) -> tuple[Any, ...]:
        return Pack, (self.folder, )


def _read_meta(folder: Path) -> dict[str, Any]:
    """``meta.json``, checked. It is written last, so a folder with it was once complete."""
    path = folder / META
    if not folder.is_dir():
        missing = next(each for each in (*reversed(folder.parents), folder) if not each.exists())
        near = os.listdir(missing.parent) if missing.parent.is_dir() else []
        raise ConfigError(f'{folder} is not a packed data set: {missing} does not exist.'
                          f'{did_you_mean(missing.name, near)} {_HOW}')
    if not path.is_file():
        arrays = all((folder / name).is_file() for name in (IMAGES, LABELS))
        what = (f'It has {IMAGES} and {LABELS}: if these are complete, `python tools/pack_dataset.py adopt {folder} '
                '--classes NAMES.json` writes the rest.' if arrays else _HOW)
        raise ConfigError(f'{folder} is not a packed data set, or an incomplete one: it has no {META}. {what}')
    try:
        found = unsealed(from_json(path.read_text(encoding='utf-8')))
        meta = {**{key: found[key] for key in _KEYS}, 'blocks': found.get('blocks')}  # older packs have none
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f'{path} is damaged ({type(error).__name__}: {error}). Expected JSON with the keys '
                          f'{", ".join(_KEYS)}. {_AGAIN}') from None
    if meta['format'] != _FORMAT:
        raise ConfigError(f'{path}: format={meta["format"]!r}, expected {_FORMAT}. {_AGAIN}')
    if not all(isinstance(meta[key], int) and meta[key] > 0 for key in _SIZES) \
            or not is_names(meta['classes']) or not isinstance(meta['sha256'], dict):
        raise ConfigError(f'{path} is damaged: num_images, height and width must be positive integers, classes a '
                          f'list of names, sha256 a dict of files. {_AGAIN}')
    return meta


def write_meta(folder: Path, classes: Sequence[str], shape: tuple[int, ...]) -> None:
    """Write ``meta.json`` beside complete arrays; ``shape`` is that of the images."""
    found = file_checksums(folder / IMAGES, open_array(folder / IMAGES, np.uint8))
    meta = dict(format=_FORMAT, classes=list(classes), **dict(zip(_SIZES, shape, strict=False)),
                sha256={IMAGES: found['sha256'], LABELS: file_hash(folder / LABELS)}, blocks=found['blocks'])
    write_atomically(folder / META, to_json(sealed(meta)))


def open_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...] | None = None,
               advice: str = _AGAIN) -> np.ndarray:
    """An array mapped read-only from ``path``, after its type, shape and length in bytes were checked.

    Raises:
        ConfigError: with the file, what was expected in it, and the advice.
    """
    kind = f'{np.dtype(dtype)}{"" if shape is None else f" of shape {shape}"}'
    try:
        array = np.load(path, mmap_mode='r')
    except FileNotFoundError:
        raise ConfigError(f'{path} is missing: expected {kind}. {advice}') from None
    except Exception as error:  # numpy reads a header as Python, and raises whatever that raises
        raise ConfigError(f'{path} is damaged or truncated ({error}): expected {kind}. {advice}') from None
    if not isinstance(array, np.memmap) or array.dtype != dtype or not array.flags.c_contiguous \
            or shape not in (None, array.shape):
        raise ConfigError(f'{path} holds {getattr(array, "dtype", type(array).__name__)} of shape '
                          f'{getattr(array, "shape", None)}, expected {kind} in C order. {advice}')
    expected, size = array.offset + array.nbytes, path.stat().st_size
    if size != expected:
        raise ConfigError(f'{path} is damaged: {size} bytes, expected {expected}. {advice}')
    return array.view(np.ndarray)  # memmap's own indexing costs more than the copy of a small image


def check_labels(path: Path, labels: np.ndarray, num_classes: int, advice: str = _AGAIN) -> None:
    """Raise ConfigError if a label is outside 0 … num_classes − 1."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ConfigError(f'{path} holds the labels {low} … {high}, but there are {num_classes} classes: expected '
                          f'0 … {num_classes - 1}. {advice}')


def is_names(classes: Any) -> bool:
    """Whether ``classes`` is a list of names, at least one."""
    return isinstance(classes, list) and bool(classes) and all(isinstance(name, str) for name in classes)

