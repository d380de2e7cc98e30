"""Writing packed folders: all of a split or nothing."""
from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsld_plugin.errors import ConfigError

from .pack_format import IMAGES, LABELS, check_labels, write_meta

_PARTIAL = '.partial'
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Source:
    """One split to be packed: names of the classes, how many samples, and the samples in order.

    A sample is an image (H, W, 3) uint8 in RGB, the same H and W for all, and its label.
    """

    classes: Sequence[str]
    count: int
    samples: Iterable[tuple[np.ndarray, int]]


def pack(out: Path, sources: Mapping[str, Source]) -> None:
    """Write ``out/<split>`` for every source; all of them or none.

    The arrays are written one image at a time into ``out/.partial`` and take their names when the last is whole. What
    an interrupted run left there is removed by the next one. The same source gives the same bytes.

    Raises:
        ConfigError: a split that is there already, sources of different classes, an image of another size, a full
            disk.
    """
    for split in sources:
        if (out / split).exists():
            raise ConfigError(f'{out / split} exists and is not overwritten: remove it first.')
    first = next(iter(sources.values())).classes
    for split, source in sources.items():
        if list(source.classes) != list(first):
            differ = sorted(set(source.classes) ^ set(first))
            raise ConfigError(f'{split} has other classes than {next(iter(sources))}: '
                              f'{", ".join(differ[:6]) or "the same in another order"}.')
    with _partial_folder(out) as partial:
        for split, source in sources.items():
            _write_split(partial / split, source)
        for split in sources:
            os.rename(partial / split, out / split)


@contextmanager
def _partial_folder(out: Path) -> Iterator[Path]:
    """An empty ``out/.partial`` of this process alone, gone afterwards; ``out`` too when nothing came into it."""
    partial = out / _PARTIAL
    partial.mkdir(parents=True, exist_ok=True)
    lock = os.open(partial, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go by the system, however a process ends
        except BlockingIOError:
            raise ConfigError(f'{partial}: another process is packing there.') from None
        for left in partial.iterdir():
            shutil.rmtree(left)
        try:
            yield partial
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise ConfigError(f'{out}: no room for the packed data set ({error.strerror}). Nothing was kept; free '
                              'some space there, or pack into another folder.') from None
        finally:
            shutil.rmtree(partial)
            if not any(out.iterdir()):
                out.rmdir()
    finally:
        os.close(lock)


def _write_split(folder: Path, source: Source) -> None:
    folder.mkdir()
    labels: list[int] = []
    shape: tuple[int, ...] = ()
    # A plain file: writing to a mapped one when the disk is full kills the process.
    with (folder / IMAGES).open('wb') as file:
        for image, label in source.samples:
            if not labels:
                shape = image.shape
                _begin(file, folder, (source.count, *shape))
            if image.shape != shape or image.dtype != np.uint8:
                raise ConfigError(f'sample {len(labels)} is {image.dtype} {image.shape}, the first one {shape}: a '
                                  'packed data set has uint8 images of one size. Give --size.')
            file.write(np.ascontiguousarray(image).data)
            labels.append(label)
        _flush(file)
    if len(labels) != source.count:
        raise ConfigError(f'{folder.name}: expected {source.count} samples, there were {len(labels)}.')
    with (folder / LABELS).open('wb') as file:
        np.save(file, np.array(labels, dtype=np.int64))
        _flush(file)
    check_labels(folder / LABELS, np.array(labels), len(source.classes))
    write_meta(folder, source.classes, (source.count, *shape))


def _begin(file: Any, folder: Path, shape: tuple[int, ...]) -> None:
    """Write the header of ``images.npy``, if the rest has a place on the disk."""
    needed, free = int(np.prod(shape)), shutil.disk_usage(folder).free
    if needed > free:
        raise ConfigError(f'{folder.parent.parent} has {free / 1e6:,.1f} MB free, but {folder.name} needs '
                          f'{needed / 1e6:,.1f} MB.')
    np.lib.format.write_array_header_1_0(file, dict(descr='|u1', fortran_order=False, shape=shape))


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
