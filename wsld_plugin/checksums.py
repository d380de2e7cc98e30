"""Checksums of files, of JSON, and of the blocks of a mapped array, which are compared when a block is first used."""
from __future__ import annotations

import zlib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ConfigError
from .files import to_json

_BLOCK = 1 << 16  # bytes of a block, or one row if that is longer


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    found = sha256()
    with path.open('rb') as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def file_checksums(path: Path, rows: np.ndarray) -> dict[str, Any]:
    """The checksums of a file that ends with the bytes of ``rows``, in one pass over it, as JSON takes them.

    Returns:
        ``sha256`` of the file; ``blocks``, for :class:`CheckedRows`: the number of ``rows`` of a block, and the
        ``crc32`` of each block in hexadecimal.
    """
    each = rows[:1].nbytes
    step, found, crcs = max(1, _BLOCK // each), sha256(), []
    with path.open('rb') as file:
        found.update(file.read(path.stat().st_size - rows.nbytes))
        while chunk := file.read(step * each):
            found.update(chunk)
            crcs.append(zlib.crc32(chunk))
    return dict(sha256=found.hexdigest(), blocks=dict(rows=step, crc32=np.array(crcs, '>u4').tobytes().hex()))


def sealed(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a JSON file with their CRC-32, which :func:`unsealed` compares."""
    return {**entries, 'crc32': zlib.crc32(to_json(entries))}


def unsealed(found: Mapping[str, Any]) -> dict[str, Any]:
    """The entries without their CRC-32; a file without one is not compared. ValueError if it differs."""
    entries = dict(found)
    given = entries.pop('crc32', None)
    if given not in (None, zlib.crc32(to_json(entries))):
        raise ValueError('another checksum than when it was written')
    return entries


class CheckedRows:
    """The rows of a mapped array, each block of which is compared with its CRC-32 before its first row is returned.

    A block is read and compared once in each process.

    Args:
        rows: the array, (N, …).
        checksums: ``blocks`` of :func:`file_checksums`; None: nothing is compared, as for files without checksums.
        path: of the file, for messages.
        advice: what to do with a damaged file.

    Raises:
        ConfigError: the checksums are not those of so many rows; in ``[]``, a block has another one.
    """

    def __init__(self, rows: np.ndarray, checksums: Mapping[str, Any] | None, path: Path, advice: str) -> None:
        self.rows, self._path, self._advice = rows, path, advice
        if checksums is None:
            self._step, self._wanted = max(1, len(rows)), np.zeros(0, '>u4')
            self._checked = np.ones(1, bool)
            return
        try:
            self._step = int(checksums['rows'])
            self._wanted = np.frombuffer(bytes.fromhex(checksums['crc32']), '>u4')
        except (KeyError, TypeError, ValueError):
            self._step = 0
        if self._step < 1 or len(self._wanted) != -(-len(rows) // self._step):
            raise ConfigError(f'{path}: the checksums beside it are damaged. {advice}')
        self._checked = np.zeros(len(self._wanted), bool)

    def __getitem__(self, places: Any) -> np.ndarray:
        """The rows at an index ≥ 0, or at an array of them."""
        blocks = places // self._step
        if not self._checked[blocks].all():
            self._check(np.unique(blocks))
        return self.rows[places]

    def _check(self, blocks: np.ndarray) -> None:
        for block in blocks[~self._checked[blocks]]:
            first = block * self._step
            part = self.rows[first:first + self._step]
            if zlib.crc32(part.tobytes()) != self._wanted[block]:
                raise ConfigError(f'{self._path} is damaged: rows {first} to {first + len(part) - 1} have another '
                                  f'checksum than when they were written. {self._advice}')
            self._checked[block] = True
