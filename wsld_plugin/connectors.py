"""Connectors bring the teacher's logits to the student's classes."""
from __future__ import annotations

import json
import math
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wsld_plugin.errors import ConfigError, check_integer, check_number, did_you_mean
from wsld_plugin.registry import MODELS

_WRITE = "write class_map as the teacher's index of each student class, in a list or a file"
ClassMap = Iterable[int] | str | Path


@MODELS.register_module()
class LogitConnector(nn.Module):
    """Map logits (N, C_teacher) to (N, C_student), for ``connectors=`` of a distiller.

    ::

        out[i, k] = logits[i, class_map[k]]

    A softmax of the result normalises over the chosen classes. Without a map, or where the map is 0, 1, 2, …, float32
    and float64 logits are not copied.

    Args:
        class_map: the teacher's index of each student class; see :func:`load_class_map`. None when both have the
            same classes in the same order.

    ``num_classes`` is the length of the map, None without one.

    Raises:
        ConfigError: an invalid map; in :meth:`check` and ``forward``, an index that the teacher does not have.

    >>> LogitConnector([2, 0])(torch.tensor([[1., 2., 3.]]))
    tensor([[3., 1.]])
    """

    class_map: Tensor | None

    def __init__(self, class_map: ClassMap | None = None) -> None:
        super().__init__()
        indices = None if class_map is None else load_class_map(class_map)
        self.num_classes = None if indices is None else len(indices)
        self._largest = max(indices or [-1])
        self._is_prefix = indices is not None and indices == list(range(len(indices)))
        self.register_buffer('class_map', None if indices is None else torch.tensor(indices), persistent=False)

    def forward(self, record: Tensor) -> Tensor:
        """The logits (N, C_student): float64 stays float64, any other floating type becomes float32."""
        if not isinstance(record, Tensor) or not record.is_floating_point():
            given = record.dtype if isinstance(record, Tensor) else type(record).__name__
            raise TypeError(f'{type(self).__name__} was given {given}, expected a floating point tensor (N, C): '
                            'record the output of a head that returns one tensor.')
        if record.ndim != 2:
            raise ValueError(f'{type(self).__name__} was given shape {tuple(record.shape)}, expected logits (N, C): '
                             'record the output of the head, not a feature map.')
        if self.class_map is not None:
            self._check_teacher(record.shape[1])
            record = record[:, :self.num_classes] if self._is_prefix else record.index_select(1, self.class_map)
        return record if record.dtype == torch.float64 else record.float()

    def check(self, teacher_classes: int, student_classes: int) -> None:
        """Raise :class:`ConfigError` unless the map leads from ``teacher_classes`` to ``student_classes``."""
        counts = f'The teacher has {teacher_classes} classes and the student {student_classes}'
        if (self.num_classes or teacher_classes) != student_classes:
            given = f'class_map has {self.num_classes} entries' if self.num_classes else 'there is no class_map'
            raise ConfigError(f'{counts}, but {given}: {_WRITE}, {student_classes} in all.')
        self._check_teacher(teacher_classes, f'{counts}, but ')

    def extra_repr(self) -> str:
        """The size of the map, for ``print(model)``."""
        return '' if self.num_classes is None else f'num_classes={self.num_classes}'

    def _check_teacher(self, teacher_classes: int, context: str = '') -> None:
        if self._largest >= teacher_classes:
            raise ConfigError(f'{context}class_map names class {self._largest} of a teacher with '
                              f'{teacher_classes} classes, 0 to {teacher_classes - 1}: {_WRITE}.')


@MODELS.register_module()
class TopClasses(LogitConnector):
    """Map logits (N, C) to those of a soft label that is uniform over the teacher's k largest classes Ω_k.

    ::

        out[i, c] = 0 if c ∈ Ω_k(logits[i]), else log floor

    Only the set of classes is kept; their order is lost. At temperature 1 the other classes have a probability of
    about ``floor``/k each. Ties at the k-th place are broken as in ``torch.topk``. A row with NaN becomes NaN.

    Args:
        k: ≥ 1.
        floor: in (0, 1).
        class_map: see :class:`LogitConnector`; applied before the k classes are chosen.

    Raises:
        ConfigError: an invalid argument; in :meth:`check` and ``forward``, k above the number of classes.

    Ω_k: Yuan et al., Learning From Biased Soft Labels, NeurIPS 2023, arXiv 2302.08155.

    >>> TopClasses(k=2, floor=0.1)(torch.tensor([[3., 1., 2.]]))
    tensor([[ 0.0000, -2.3026,  0.0000]])
    """

    def __init__(self, k: int, floor: float = 1e-6, class_map: ClassMap | None = None) -> None:
        check_integer('TopClasses: k', k, 1)
        check_number('TopClasses: floor', floor, 0, 1, inclusive=False)
        super().__init__(class_map)
        self.k, self.floor, self.log_floor = k, floor, math.log(floor)

    def forward(self, record: Tensor) -> Tensor:
        """The logits (N, C_student), float32 or float64 as in :class:`LogitConnector`."""
        logits = super().forward(record)
        self._check_k(logits.shape[1])
        label = torch.full_like(logits, self.log_floor).scatter_(1, logits.topk(self.k, 1).indices, 0.0)
        return label.masked_fill_(logits.isnan().any(1, keepdim=True), math.nan)  # topk ranks NaN first

    def check(self, teacher_classes: int, student_classes: int) -> None:
        """Raise :class:`ConfigError` unless the map leads to the student's classes and there are k or more."""
        super().check(teacher_classes, student_classes)
        self._check_k(student_classes)

    def extra_repr(self) -> str:
        """The arguments, for ``print(model)``."""
        return ', '.join(filter(None, [f'k={self.k}, floor={self.floor}', super().extra_repr()]))

    def _check_k(self, num_classes: int) -> None:
        if self.k > num_classes:
            raise ConfigError(f'TopClasses: k={self.k}, but there are {num_classes} classes: expected '
                              f'1 … {num_classes}.')


def load_class_map(class_map: ClassMap) -> list[int]:
    """Read the teacher's index of each student class.

    Args:
        class_map: a list, or the path of a ``.json`` file (a list), a ``.txt`` file (one index a line) or a ``.npy``
            file (a one-dimensional integer array). Repeated indices are kept, with a warning.

    Raises:
        ConfigError: a missing or unreadable file, an empty map, an index that is not an integer from 0 up.

    >>> load_class_map([2, 0])
    [2, 0]
    """
    name, values = 'class_map', class_map
    if isinstance(class_map, str | Path):
        name, values = f'class_map {str(class_map)!r}', _read(Path(class_map))
    values = values.tolist() if isinstance(values, np.ndarray | Tensor) else values
    if not isinstance(values, Iterable) or isinstance(values, dict):
        raise ConfigError(f'{name} holds one {type(values).__name__}, expected a list of integers: {_WRITE}.')
    indices: list[Any] = list(values)
    for student_class, index in enumerate(indices):
        check_integer(f"{name}: the teacher's index of student class {student_class}", index, 0)
    if not indices:
        raise ConfigError(f'{name} is empty: {_WRITE}, or leave class_map out where both have the same classes.')
    repeated = [index for index, count in Counter(indices).items() if count > 1]
    if repeated:
        warnings.warn(f'{name} gives class {repeated[0]} of the teacher to more than one student class, one of '
                      f'{len(repeated)} repeated classes. Remove the repeats unless they are intended.', stacklevel=3)
    return indices


def _read(path: Path) -> Any:
    readers = {'.json': lambda: json.loads(path.read_text(encoding='utf-8')),
               '.txt': lambda: [int(line) for line in path.read_text(encoding='utf-8').split('\n') if line.strip()],
               '.npy': lambda: np.load(path, allow_pickle=False)}
    if path.suffix not in readers:
        raise ConfigError(f'class_map {str(path)!r} ends in {path.suffix!r}, expected a {", ".join(readers)} file.')
    if not path.is_file():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ConfigError(f'class_map {str(path)!r}: there is no such file (looked in {path.parent.resolve()}).'
                          f'{did_you_mean(path.name, beside)}')
    try:
        return readers[path.suffix]()
    except (ValueError, OSError, EOFError) as error:  # EOFError: an empty .npy file
        raise ConfigError(f'class_map {str(path)!r} cannot be read ({error}): {_WRITE}.') from error
