"""A whole cache of soft labels, mapped from disk."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsld_plugin.datasets.keyed import SampleKey
from wsld_plugin.errors import ConfigError

from .header import RECORDS, read_header
from .records import record_type

_AGAIN = 'Remove the folder and make the cache anew with tools/cache_soft_labels.py.'


class SoftLabels:
    """The records of a folder that ``tools/cache_soft_labels.py`` wrote: (views · num_samples,), mapped, read-only.

    The file's existence and length are checked on opening, its SHA-256 by :func:`wsld_plugin.soft_labels.replay`.

    Raises:
        ConfigError: naming the folder or file that is missing, damaged, cut short or not complete.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser()
        self.header, more = read_header(self.folder)
        self.sha256 = more.get('sha256')
        kind = record_type(self.header.num_classes, self.header.top_k)
        path, count = self.folder / RECORDS, self.header.views * self.header.num_samples
        size = path.stat().st_size if path.is_file() else 0
        if size != count * kind.itemsize:
            raise ConfigError(f'{path} is damaged: {size} bytes, expected {count * kind.itemsize}. {_AGAIN}')
        # memmap's own indexing costs more than a plain array's
        self.records = np.memmap(path, kind, 'r').view(np.ndarray)

    def rows(self, keys: Sequence[SampleKey]) -> np.ndarray:
        """The records (N,) of N samples, a copy.

        Args:
            keys: of samples that a `KeyedSampler` with this cache's number of views gave out.

        Raises:
            ValueError: a key that the cache does not have.
        """
        seeds, views, indices, repeats = np.array(keys, dtype=np.int64).reshape(-1, 4).T
        given, header = (seeds, views, indices, repeats), self.header
        expected = ((header.seed, header.seed + 1), (0, header.views), (0, header.num_samples), (0, 1))
        for name, values, (low, high) in zip(SampleKey._fields, given, expected, strict=True):
            wrong = values[(values < low) | (values >= high)]
            if len(wrong):
                raise ValueError(f'{self.folder} has no soft label of a sample with {name}={wrong[0]}, but of '
                                 f'{low} … {high - 1}. Train with tools/train.py, whose sampler, '
                                 f'wsld_plugin.KeyedSampler(views={header.views}), repeats the views of the cache.')
        return self.records[views * header.num_samples + indices]
