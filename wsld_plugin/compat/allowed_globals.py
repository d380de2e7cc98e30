"""What a checkpoint may hold beside tensors and containers: mmengine's log history, numbers, arrays of them.

``torch.load(weights_only=True)`` calls nothing but what is on its allow-list, under the name the file gives.
A pickled ``HistoryBuffer`` needs names there that are unsafe as they are, so each stands for less:

- ``builtins.getattr`` reaches every object of the process. Here: ``HistoryBuffer``'s statistics methods.
- ``numpy.dtype`` takes its flags from the file, and numpy then takes bytes of the file for addresses of
  objects. Here: numpy's own constants for numbers, which ignore the state that a file gives them. (The byte
  order is part of that state: arrays are read in the machine's own.)
- ``numpy.ndarray``, called with a buffer, does the same. Here: a name only, not to be called.
- ``_reconstruct`` and ``scalar`` of ``multiarray`` make any type. Here: arrays and scalars of numbers.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any, NoReturn

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

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
    return np.empty(0, np.int8)  # its state, which the file gives next, says what it holds


def _number(dtype: object, raw: Any) -> np.generic:
    if not isinstance(dtype, np.dtype):
        _refuse('a numpy scalar without a dtype')
    return np.frombuffer(raw, dtype, count=1)[0]


_BY_NAME: dict[str, Any] = {
    'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
    'builtins.getattr': _history_method,
    'numpy.dtype': _number_dtype,
    'numpy.ndarray': _array_type,
    **{f'numpy.{core}.multiarray.{name}': stand_in
       for core in ('core', '_core')  # numpy 1 and 2
       for name, stand_in in (('_reconstruct', _empty_array), ('scalar', _number))},
    # These may be given a state but not be called: the name that a file gives has a dot, theirs has none.
    'ndarray': np.ndarray,
    **{type(dtype).__name__: type(dtype) for dtype in _NUMBERS.values()},
}
ALLOWED: list[Any] = [(value, name) for name, value in _BY_NAME.items()]


@contextmanager
def only_allowed() -> Iterator[None]:
    """While it lasts, the names above mean what they mean here, whatever else was allowed under them.

    Other entries that the user or a library added to PyTorch's list stay. ``HistoryBuffer``'s statistics,
    which a loaded history extends for the whole process, are as before afterwards.
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
