"""Load every checkpoint without executing anything in it.

A checkpoint is a pickle, and a pickle is a program. mmengine uses the default of ``torch.load``, which refuses the
log history in mmengine's own checkpoints; its downloads use ``torch.hub``, which executes them; the fork loads a
refused file again with ``weights_only=False``. ``Runner.resume`` then executes the text in ``meta['config']``.

All loaders of ``mmengine.runner`` are covered (local, http, torchvision, open-mmlab, mmcls, ceph, pavi): they read
files through the names replaced here. ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD`` has no effect: that variable changes only
the default of ``torch.load``.

The allow-list: tensors and containers, mmengine's log history, ``argparse.Namespace``, numbers and arrays of numbers.
``torch.load(weights_only=True)`` calls nothing but what is on its allow-list, under the name that the file gives. A
pickled ``HistoryBuffer`` needs names that are unsafe as they are, so each is replaced by something narrower:

- ``builtins.getattr`` reaches every object of the process. Here: the statistics methods of ``HistoryBuffer``.
- ``numpy.dtype`` reads its flags from the file, and numpy then takes bytes of the file for addresses of objects.
  Here: numpy's own constants for numbers, which ignore the state in the file. (The byte order is part of that state:
  arrays are read in the machine's own.)
- ``numpy.ndarray``, called with a buffer, does the same. Here: a name that cannot be called.
- ``_reconstruct`` and ``scalar`` of ``multiarray`` make any type. Here: arrays and scalars of numbers.
"""
from __future__ import annotations

import os
import re
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import IO, Any, NoReturn
from urllib.error import URLError
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import checkpoint as loaders

from wsld_plugin.errors import CheckpointError, did_you_mean

_STATISTICS = ('min', 'max', 'mean', 'current')
_NUMBERS = {dtype.str[1:]: dtype for dtype in map(np.dtype, (
    '?', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8', 'c8', 'c16'))}


def _refuse(what: str) -> NoReturn:
    raise UnpicklingError(f'refused: {what}')


def _history_method(owner: object, name: object, *_: object) -> Callable:
    if owner is not HistoryBuffer or name not in _STATISTICS:
        owner_name = getattr(owner, '__qualname__', type(owner).__name__)
        _refuse(f'getattr of {str(name)[:80]!r} on {owner_name}')
    return getattr(HistoryBuffer, name)


def _number_dtype(kind: object, *_: object) -> np.dtype:
    if not isinstance(kind, str) or kind not in _NUMBERS:
        _refuse(f'numpy.dtype of {str(kind)[:80]!r}')
    return _NUMBERS[kind]


def _array_type(*_: object) -> NoReturn:
    _refuse('a call of numpy.ndarray')


def _empty_array(*_: object) -> np.ndarray:
    return np.empty(0, np.int8)  # its state follows in the file


def _number(dtype: object, raw: Any) -> np.generic:
    if not isinstance(dtype, np.dtype):
        _refuse('a numpy scalar without a dtype')
    return np.frombuffer(raw, dtype, count=1)[0]


_BY_NAME: dict[str, Any] = {
    'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
    'argparse.Namespace': Namespace,  # the command line, in many checkpoints of plain PyTorch
    'builtins.getattr': _history_method,
    'numpy.dtype': _number_dtype,
    'numpy.ndarray': _array_type,
    **{f'numpy.{core}.multiarray.{name}': stand_in
       for core in ('core', '_core')  # numpy 1 and 2
       for name, stand_in in (('_reconstruct', _empty_array), ('scalar', _number))},
    # These may receive a state but not be called: the name in a file has a dot, these have none.
    'ndarray': np.ndarray,
    **{type(dtype).__name__: type(dtype) for dtype in _NUMBERS.values()},
}
ALLOWED: list[Any] = [(value, name) for name, value in _BY_NAME.items()]


@contextmanager
def only_allowed() -> Iterator[None]:
    """Inside, the names above have the meaning given here, whatever was allowed under them before.

    Other entries that the user or a library added to PyTorch's list stay. ``HistoryBuffer``'s statistics, which a
    loaded history extends for the whole process, are restored afterwards.
    """
    before = torch.serialization.get_safe_globals()
    HistoryBuffer()  # the first one of a process registers the default statistics
    statistics = dict(HistoryBuffer._statistics_methods)
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([entry for entry in before if _name(entry) not in _BY_NAME])
    torch.serialization.add_safe_globals(ALLOWED)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
        HistoryBuffer._statistics_methods.clear()
        HistoryBuffer._statistics_methods.update(statistics)


def _name(entry: Any) -> str:
    return entry[1] if isinstance(entry, tuple) else f'{entry.__module__}.{entry.__qualname__}'


def apply() -> None:
    """Replace the functions that mmengine's loaders read files with, and allow mmengine's log history."""
    torch.serialization.add_safe_globals(ALLOWED)
    loaders.torch = _TORCH
    loaders.load_url = load_url


def safe_load(file: str | os.PathLike[str] | IO[bytes], map_location: Any = 'cpu') -> Any:
    """Load a checkpoint: tensors, numbers, text, containers and mmengine's log history.

    ``meta['config']`` is removed: ``Runner.resume`` would execute it, to check GPU ids that configs no longer have.
    ``meta['cfg']`` and the message hub's ``cfg`` stay. Training only prints them; an mmengine ``BaseInferencer`` that
    is given no config and MMRazor's ``RuntimeInfo`` execute them.

    Args:
        file: a path (``~`` is expanded), or an open binary file.
        map_location: device of the tensors, as for ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file; mmengine's loader raises the same.
        CheckpointError: the file is truncated, damaged or not a checkpoint; or it holds anything else than the above,
            of which nothing was executed.
    """
    if isinstance(file, (str, os.PathLike)):
        file = Path(file).expanduser()
        check_exists(file)
        name = f'Checkpoint {file} ({file.stat().st_size:,} bytes)'
    else:
        name = 'The checkpoint'
    with only_allowed(), _explained(name):
        _check_crc(file)
        checkpoint = torch.load(file, map_location=map_location, weights_only=True)
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict) and meta.pop('config', None) is not None:
        print_log(f"{name}: left out meta['config'], which mmengine would execute", logger='current')
    return checkpoint


def _check_crc(file: Any) -> None:
    """Compare the CRC-32 of every entry of the zip that ``torch.save`` writes, which ``torch.load`` does not."""
    if not zipfile.is_zipfile(file):
        return  # the format of PyTorch before 1.6
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if hasattr(file, 'seek'):
        file.seek(0)
    if damaged:
        raise zipfile.BadZipFile(f'{damaged} has another checksum than when it was written')


def load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> Any:
    """:func:`safe_load` of a download, kept in ``model_dir`` (by default that of ``torch.hub``)."""
    folder = Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints'))
    file = folder / Path(urlparse(url).path).name
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print_log(f'Downloading {url} to {file}', logger='current')
        try:
            torch.hub.download_url_to_file(url, str(file), progress=progress)
        except URLError as error:
            raise CheckpointError(f'{url} cannot be downloaded ({error.reason}). Download it where the network '
                                  f'allows it, and name the file instead of the URL.') from error
    return safe_load(file, map_location)


class _Torch(ModuleType):
    """``torch`` for mmengine's loaders, with a ``load`` that ignores ``weights_only``."""

    @staticmethod
    def load(file: Any, map_location: Any = None, **_: Any) -> Any:
        return safe_load(file, map_location)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


_TORCH = _Torch('torch')


def check_exists(file: Path) -> None:
    """Raise FileNotFoundError, which names the nearest file, unless ``file`` is one."""
    if file.is_file():
        return
    if file.is_dir():
        raise FileNotFoundError(f'{file} is a folder, not a checkpoint; name a file in it.')
    beside = (path.name for path in file.parent.iterdir()) if file.parent.is_dir() else ()
    raise FileNotFoundError(f'There is no checkpoint {file.absolute()}.{did_you_mean(file.name, beside)}')


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Explain why ``torch.load`` failed and what to do, without its advice ``weights_only=False``."""
    try:
        yield
    except (MemoryError, PermissionError, torch.OutOfMemoryError):
        raise
    except UnpicklingError as error:
        if 'Unsupported operand' in str(error):
            raise _unreadable(name, 'torch.save writes no such pickle') from None
        said = str(error).split('\n\nCheck the documentation')[0]
        named = re.search(r'GLOBAL (\S+)', said)
        raise CheckpointError(
            f'{name} was refused; nothing in it was executed. It holds code, or a type that is no part of a model: '
            f'{named[1] if named else said.splitlines()[-1]}. Use a file that holds weights alone, as torch.save('
            'model.state_dict(), path) writes it. A type of your own can be allowed with '
            'torch.serialization.add_safe_globals.') from None
    except Exception as error:
        text = str(error)
        if 'map_location' in text or 'CUDA' in text:  # the device is the cause, not the file
            raise
        raise _unreadable(name, re.split(r'\. |\n', text)[0] or type(error).__name__) from error


def _unreadable(name: str, why: str) -> CheckpointError:
    return CheckpointError(f'{name} cannot be read: it was cut short or damaged, or is not a checkpoint ({why}). '
                           'Copy it again, or delete it and download it again.')
