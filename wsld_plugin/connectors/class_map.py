"""Class maps: for each student class the index of the teacher's class, from a list or a file."""
from __future__ import annotations

import json
import operator
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from wsld_plugin.errors import ConfigError, did_you_mean

WHAT_TO_WRITE = "write class_map as the teacher's index of each student class, in a list or a file"


def load_class_map(class_map: Iterable[int] | str | Path) -> list[int]:
    """The indices of a list, or of a ``.json`` (a list), ``.txt`` (one a line) or ``.npy`` file.

    Repeats are kept, with a warning: a teacher may have one class for two of the student's, but it is more
    often a slip.

    Raises:
        ConfigError: for a missing or unreadable file, an empty map, or an index that is not an integer or is
            negative.

    >>> load_class_map([2, 0])
    [2, 0]
    """
    origin, values = 'class_map', class_map
    if isinstance(class_map, str | Path):
        origin = f'class_map {str(class_map)!r}'
        values = _read(Path(class_map), origin)
    if not isinstance(values, Iterable) or isinstance(values, dict):
        raise ConfigError(f'{origin} holds one {type(values).__name__}, but a list of integers is expected: '
                          f'{WHAT_TO_WRITE}.')
    indices = [_index(value, student_class, origin) for student_class, value in enumerate(values)]
    if not indices:
        raise ConfigError(f'{origin} is empty: {WHAT_TO_WRITE}, or leave class_map out where both have the '
                          'same classes.')
    repeated = [index for index, count in Counter(indices).items() if count > 1]
    if repeated:
        warnings.warn(f'{origin} gives class {repeated[0]} of the teacher to more than one student class, '
                      f'one of {len(repeated)} repeated classes. Remove the repeats unless they are meant.',
                      stacklevel=3)
    return indices


def _index(value: Any, student_class: int, origin: str) -> int:
    try:
        index = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        index = -1
    if index < 0:
        raise ConfigError(f'{origin} has {value!r} for student class {student_class}, but an integer from 0 '
                          f'up is expected: {WHAT_TO_WRITE}.')
    return index


def _read(path: Path, origin: str) -> Any:
    readers = {'.json': _read_json, '.txt': _read_txt, '.npy': _read_npy}
    if path.suffix not in readers:
        raise ConfigError(f'{origin} ends in {path.suffix!r}, but a {", ".join(readers)} file is expected: '
                          f'{WHAT_TO_WRITE}.')
    if not path.is_file():
        neighbours = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ConfigError(f'{origin} is no file (looked in {path.parent.resolve()}): give the path of a list '
                          f'of teacher indices.{did_you_mean(path.name, neighbours)}')
    try:
        return readers[path.suffix](path)
    except (ValueError, OSError) as error:
        raise ConfigError(f'{origin} cannot be read ({error}): {WHAT_TO_WRITE}.') from error


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding='utf-8'))


def _read_txt(path: Path) -> list[int]:
    return [int(line) for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]


def _read_npy(path: Path) -> Any:
    with path.open('rb') as file:
        return np.lib.format.read_array(file, allow_pickle=False).tolist()
