"""Writing a cache of soft labels: it can be interrupted anywhere, and is whole or not there."""
from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np

from wsld_plugin.datasets.packed import file_hash
from wsld_plugin.errors import ConfigError
from wsld_plugin.files import write_atomically

from .header import HEADER, PROGRESS, RECORDS, Header, read_header
from .records import record_type

CHUNK = 4096
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Writer:
    """Appends records to ``folder``, in the order of view and index; see :func:`writing`.

    ``done`` records are safe on the disk. They are noted in ``progress.json`` after every `CHUNK` of them, and the
    header, without which nothing reads a cache, is written last.
    """

    def __init__(self, folder: Path, header: Header, file: IO[bytes], done: int) -> None:
        self.folder = folder
        self.header = header
        self.done = self._appended = done
        self.total = header.views * header.num_samples
        self._file = file

    def append(self, records: np.ndarray) -> None:
        """Write the next records."""
        self._file.write(records.tobytes())
        self._appended += len(records)
        if self._appended - self.done >= CHUNK or self._appended == self.total:
            self.save_progress()

    def save_progress(self) -> None:
        """Make sure that what was appended outlives a crash."""
        self._file.flush()
        os.fsync(self._file.fileno())
        write_atomically(self.folder / PROGRESS, self.header.to_json(done=self._appended))
        self.done = self._appended

    def finish(self) -> None:
        """Declare the cache whole."""
        assert self.done == self.total, f'{self.done} of {self.total} records were written'
        write_atomically(self.folder / HEADER, self.header.to_json(sha256=file_hash(self.folder / RECORDS)))
        (self.folder / PROGRESS).unlink()


@contextmanager
def writing(folder: Path, header: Header) -> Iterator[Writer]:
    """A `Writer` that begins, or goes on where an earlier one was interrupted.

    Raises:
        ConfigError: another process writes there; what an earlier one began has another header, with the field
            named; the disk is full. What was written is kept, and the next call goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go by the system, however a process ends
        except BlockingIOError:
            raise ConfigError(f'{folder}: another process is writing soft labels there.') from None
        with _no_room_is_told(folder):
            done = _begin(folder, header)
            with (folder / RECORDS).open('r+b') as file:
                file.truncate(done * record_type(header.num_classes, header.top_k).itemsize)
                file.seek(0, os.SEEK_END)
                writer = Writer(folder, header, file, done)
                try:
                    yield writer
                except (Exception, KeyboardInterrupt) as error:
                    if not isinstance(error, OSError):
                        writer.save_progress()
                    raise
    finally:
        os.close(lock)


def _begin(folder: Path, header: Header) -> int:
    """How many records are there already."""
    size = record_type(header.num_classes, header.top_k).itemsize
    path, done = folder / RECORDS, 0
    if (folder / PROGRESS).is_file():
        begun, more = read_header(folder, PROGRESS)
        begun.check(asdict(header), folder)
        done = min(int(more['done']), path.stat().st_size // size if path.is_file() else 0)
    elif path.exists():
        raise ConfigError(f'{path} exists and is not overwritten: remove it first.')
    needed, free = (header.views * header.num_samples - done) * size, shutil.disk_usage(folder).free
    if needed > free:
        raise ConfigError(f'{folder}: {free / 1e6:,.1f} MB are free, but the soft labels need {needed / 1e6:,.1f} '
                          'MB. Fewer views or a smaller top_k need less.')
    if not (folder / PROGRESS).is_file():
        write_atomically(folder / PROGRESS, header.to_json(done=0))
    path.touch()
    return done


@contextmanager
def _no_room_is_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise ConfigError(f'{folder}: no room for the soft labels ({error.strerror}). Free some space there, and the '
                          'same command goes on where it was interrupted.') from None
