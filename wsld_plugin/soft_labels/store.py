"""The files of a soft-label cache: records of logits, the header that says what they depend on, reader and writer."""
from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from wsld_plugin.checksums import CheckedRows, file_checksums, file_hash, sealed, unsealed
from wsld_plugin.datasets.keyed import SampleKey
from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.files import from_json, locked, to_json, write_atomically
from wsld_plugin.losses.checks import check_range

FORMAT = 1
HEADER, RECORDS, PROGRESS = 'header.json', 'records.bin', 'progress.json'
DTYPE = 'float16'
CHUNK = 4096
SMALLEST = float(np.finfo(np.float16).min)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

NEW = 'remove the folder and make the cache again with tools/cache_soft_labels.py'
_VERSION = 'It was written by another version of this package'
_ADVICE = dict(  # about a field that differs, other than to make the cache again
    format=_VERSION, dtype=_VERSION,
    teacher_weights="The teacher was trained again, or is another one: name that teacher's checkpoint",
    teacher_config='The teacher or its normalisation was changed: undo that',
    pipeline='The training pipeline was changed, and with it the images: undo that',
    data_preprocessor="The student's data preprocessor was changed: undo that",
    dataset='The samples, labels or channel order differ: train on that data set',
    num_samples='Train on the data set of the cache', num_classes='Give the student the classes of the cache',
    seed='The augmentation depends on the seed: set randomness.seed to that of the cache',
    tau='The tail was summed at that temperature: set tau of the loss to it',
    **{name: f'Set model.teacher.{name} to that of the cache' for name in ('views', 'class_map', 'top_k')},
    teacher_bn='Set model.teacher_bn to that of the cache')


def record_type(num_classes: int, top_k: int | None = None) -> np.dtype:
    """The fields of a record, without gaps.

    ================  ==========  ========================================================================
    ``log_probs``     float16, K  the largest of ``log_softmax(t)``, largest first; all C in order without top_k
    ``classes``       integer, K  their classes, in 1 byte for C ≤ 256, 2 for C ≤ 65,536, else 4; with top_k only
    ``lse_tail``      float32     log Σ exp(log_softmax(t)/τ) of the other classes; with top_k only
    ``lse``           float32     log Σ exp(t)
    ``teacher_ce``    float32     cross entropy of the label, in nats
    ================  ==========  ========================================================================

    >>> record_type(1000).itemsize, record_type(1000, top_k=10).itemsize, record_type(100, top_k=10).itemsize
    (2008, 52, 42)
    """
    logits = [('log_probs', '<f2', (top_k or num_classes, ))]
    tail = [('classes', np.min_scalar_type(num_classes - 1).newbyteorder('<'), (top_k, )), ('lse_tail', '<f4')]
    return np.dtype([*logits, *(tail if top_k else []), ('lse', '<f4'), ('teacher_ce', '<f4')])


def encode(logits: Tensor, labels: Tensor, top_k: int | None = None, tau: float | None = None) -> np.ndarray:
    """Records (N,) of logits t (N, C), of any floating type and device, and labels (N,), computed in float64.

    Args:
        logits: t.
        labels: the class of each sample.
        top_k: K < C; None: all classes.
        tau: temperature of the tail; required with ``top_k``.

    Raises:
        ValueError: logits that are not finite; a label outside the C classes.

    Log-probabilities are clamped to float16's smallest number, -65,504.
    """
    logits = logits.detach().cpu().double()
    if not logits.isfinite().all():
        raise ValueError("the teacher's logits are not finite, so they cannot be learned from.")
    labels = labels.cpu().long()
    check_range(labels, logits.shape[1])
    lse = logits.logsumexp(1)
    log_probs = logits - lse[:, None]
    records = np.empty(len(logits), record_type(logits.shape[1], top_k))
    records['lse'] = lse
    records['teacher_ce'] = (lse - logits.gather(1, labels[:, None])[:, 0]).clamp(min=0)
    kept = log_probs
    if top_k:
        assert tau is not None
        kept, classes = log_probs.topk(top_k)
        records['classes'] = classes
        records['lse_tail'] = log_tail(log_probs, classes, tau)
    records['log_probs'] = kept.clamp(min=SMALLEST)
    return records


def log_tail(log_probs: Tensor, classes: Tensor, tau: float) -> Tensor:
    """``log Σ exp(log_probs/τ)`` over the classes that are not in ``classes`` (N, K): (N,)."""
    return (log_probs / tau).scatter(1, classes, -math.inf).logsumexp(1)


def decode(records: Mapping[str, Tensor], num_classes: int, tau: float | None = None) -> Tensor:
    """Logits (N, C), float32, on the device of the fields of N records (:func:`to_tensors`).

    ::

        t[k] = log_probs[k] + lse                                    for a class k that was kept
        t[k] = τ·(lse_tail - log(C - K)) + lse                       for the others

    ``softmax(t/τ)`` has the teacher's probability, up to the rounding to float16, at every class that was kept, and
    the exact mass of the others in equal parts. The log-sum-exp of the tail itself is stored, because as a difference
    of two sums a small tail would be lost in rounding.
    """
    kept = records['log_probs'].float() + records['lse'][:, None]
    if 'classes' not in records:
        return kept
    assert tau is not None
    others = num_classes - kept.shape[1]
    rest = tau * (records['lse_tail'] - math.log(others)) + records['lse']
    return rest[:, None].repeat(1, num_classes).scatter_(1, records['classes'], kept)


def to_tensors(records: np.ndarray, device: torch.device | str) -> dict[str, Tensor]:
    """The fields of records (N,) as tensors; classes as int64."""
    arrays = {name: records[name].astype(np.int64) if name == 'classes' else records[name].copy()
              for name in records.dtype.names or ()}
    return {name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in arrays.items()}


@dataclass(frozen=True)
class Header:
    """What the records of a cache depend on; the first five are SHA-256 hashes."""

    teacher_weights: str
    teacher_config: str  # with its normalisation
    pipeline: str  # the transforms of the training set
    data_preprocessor: str  # the student's
    dataset: str  # the kind, the labels and a few images of the training set, all images if it is packed
    num_samples: int  # N
    num_classes: int  # C, the student's
    views: int  # V; the record of a sample in view v is number v·N + index
    seed: int  # of the augmentation
    class_map: tuple[int, ...] | None = None  # the teacher's index of each student class; None: the same classes
    tau: float | None = None  # temperature of the tail; None if all classes are kept
    top_k: int | None = None  # number of classes that are kept of each sample; None: all
    dtype: str = DTYPE  # of the logits
    teacher_bn: str = 'eval'
    format: int = FORMAT  # of the files

    def check(self, needed: Mapping[str, Any], folder: Path) -> None:
        """Raise :class:`ConfigError` with a line for each field that differs from what a run needs.

        Args:
            needed: fields by name; missing ones are not compared.
            folder: of the cache, for the message.
        """
        wrong = [f'{name}: the cache has {_short(have)}, this run {_short(needed[name])}. {_ADVICE[name]}, or {NEW}.'
                 for name, have in asdict(self).items() if name in needed and have != needed[name]]
        if wrong:
            raise ConfigError('\n  '.join([f'{folder} holds the soft labels of another run:', *wrong]))

    def write(self, path: Path, **more: Any) -> None:
        """Write the fields and further entries as JSON."""
        write_atomically(path, to_json(sealed({**asdict(self), **more})))


def read_header(folder: Path, name: str = HEADER) -> tuple[Header, dict[str, Any]]:
    """The header in a cache's folder, and the other entries of its file.

    Raises:
        ConfigError: the folder or file is missing, damaged, or of another format.
    """
    path = folder / name
    if not path.is_file():
        command = '`python tools/cache_soft_labels.py CONFIG`'
        if (folder / PROGRESS).is_file():
            raise ConfigError(f'{folder}: its soft labels are not complete. Run {command} again to continue.')
        beside = os.listdir(folder.parent) if folder.parent.is_dir() and not folder.exists() else []
        raise ConfigError(f'{folder} holds no soft labels: there is no {name}.{did_you_mean(folder.name, beside)} '
                          f"Run {command}, or set model.teacher.make='missing'.")
    known = {field.name for field in fields(Header)}
    try:
        found = unsealed(from_json(path.read_text(encoding='utf-8')))
        if found['format'] != FORMAT:
            raise ConfigError(f'{path}: format={found["format"]!r}, expected {FORMAT}. {_VERSION}: {NEW}.')
        values: dict[str, Any] = {key: found[key] for key in known}
        header = Header(**{**values, 'class_map': values['class_map'] and tuple(values['class_map'])})
        sizes = (header.num_samples, header.num_classes, header.views)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f'sizes {sizes}')
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f'{path} is damaged ({type(error).__name__}: {error}): {NEW}.') from None
    return header, {key: value for key, value in found.items() if key not in known}


def _short(value: Any) -> str:
    text = repr(value)
    return f'{text[:12]}…' if isinstance(value, (str, tuple)) and len(text) > 24 else text


class SoftLabels:
    """The records of a complete cache: (views · num_samples,), memory-mapped, read-only.

    Opening checks that the file exists and its length; a block of records is compared with its checksum when one of
    them is first read.

    Raises:
        ConfigError: a folder or file that is missing, damaged, truncated or not complete.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser()
        self.header, more = read_header(self.folder)
        self.sha256 = more.get('sha256')
        kind = record_type(self.header.num_classes, self.header.top_k)
        path, count = self.folder / RECORDS, self.header.views * self.header.num_samples
        size = path.stat().st_size if path.is_file() else 0
        if size != count * kind.itemsize:
            raise ConfigError(f'{path} is damaged: {size} bytes, expected {count * kind.itemsize}: {NEW}.')
        self.records = np.memmap(path, kind, 'r').view(np.ndarray)  # indexing a memmap itself is slower
        self._checked = CheckedRows(self.records, more.get('blocks'), path, f'{NEW[0].upper()}{NEW[1:]}.')

    def rows(self, keys: Sequence[SampleKey]) -> np.ndarray:
        """A copy of the records (N,) of N samples.

        Args:
            keys: as a `KeyedSampler` with this cache's number of views yields them.

        Raises:
            ValueError: a key that the cache does not have.
        """
        given, header = np.array(keys, dtype=np.int64).reshape(-1, 4).T, self.header
        limits = ((header.seed, header.seed), (0, header.views - 1), (0, header.num_samples - 1), (0, 0))
        for name, values, (low, high) in zip(SampleKey._fields, given, limits, strict=True):
            wrong = values[(values < low) | (values > high)]
            if len(wrong):
                raise ValueError(f'{self.folder} has no soft label of a sample with {name}={wrong[0]}, expected '
                                 f'{low} … {high}. Train with tools/train.py, whose sampler, '
                                 f'wsld_plugin.KeyedSampler(views={header.views}), repeats the views of the cache.')
        return self._checked[given[1] * header.num_samples + given[2]]

    def check_hash(self) -> None:
        """Raise :class:`ConfigError` unless the SHA-256 of the records is that of the header."""
        if file_hash(self.folder / RECORDS) != self.sha256:
            raise ConfigError(f'{self.folder / RECORDS} is damaged, its SHA-256 is not that of the header: {NEW}.')


class Writer:
    """Appends records to ``folder``, in the order of view and index; see :func:`writing`.

    ``done`` records are flushed to the disk; their number is saved in ``progress.json`` after every `CHUNK` of them.
    The header, without which a cache is not read, is written last.
    """

    def __init__(self, folder: Path, header: Header, file: IO[bytes], done: int) -> None:
        self.folder, self.header, self._file = folder, header, file
        self.done = self._appended = done
        self.total = header.views * header.num_samples

    def append(self, records: np.ndarray) -> None:
        """Write the next records."""
        self._file.write(records.tobytes())
        self._appended += len(records)
        if self._appended - self.done >= CHUNK or self._appended == self.total:
            self.save_progress()

    def save_progress(self) -> None:
        """Flush the appended records to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.header.write(self.folder / PROGRESS, done=self._appended)
        self.done = self._appended

    def finish(self) -> None:
        """Write the header of the complete cache."""
        assert self.done == self.total, f'{self.done} of {self.total} records were written'
        path = self.folder / RECORDS
        records = np.memmap(path, record_type(self.header.num_classes, self.header.top_k), 'r')
        self.header.write(self.folder / HEADER, **file_checksums(path, records))
        (self.folder / PROGRESS).unlink()


@contextmanager
def writing(folder: Path, header: Header) -> Iterator[Writer]:
    """A `Writer` that starts a cache, or continues an interrupted one.

    Raises:
        ConfigError: another process writes there; the interrupted cache has another header; the disk is full. What
            was written is kept, and the next call continues.
    """
    with locked(folder / '.lock') as owner:
        if owner is not None:
            raise ConfigError(f'{folder}: another process is writing soft labels there.')
        try:
            done = _start(folder, header)
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
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise ConfigError(f'{folder}: no space left for the soft labels ({error.strerror}). Free some space '
                              'there, and run the same command again to continue.') from None


def _start(folder: Path, header: Header) -> int:
    """The number of records that are there already; refuses a folder that cannot be written to."""
    size = record_type(header.num_classes, header.top_k).itemsize
    path, done, started = folder / RECORDS, 0, (folder / PROGRESS).is_file()
    if started:
        old, more = read_header(folder, PROGRESS)
        old.check(asdict(header), folder)
        if not isinstance(more.get('done'), int):
            raise ConfigError(f'{folder / PROGRESS} is damaged (done={more.get("done")!r}): {NEW}.')
        done = min(more['done'], path.stat().st_size // size if path.is_file() else 0)
    elif path.exists():
        raise ConfigError(f'{path} exists and is not overwritten: remove it first.')
    needed, free = (header.views * header.num_samples - done) * size, shutil.disk_usage(folder).free
    if needed > free:
        raise ConfigError(f'{folder}: {free / 1e6:,.1f} MB are free, but the soft labels need {needed / 1e6:,.1f} '
                          'MB. Fewer views or a smaller top_k need less.')
    if not started:
        header.write(folder / PROGRESS, done=0)
    path.touch()
    return done
