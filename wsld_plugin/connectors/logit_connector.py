"""Logits of the teacher in the label space of the student."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import MODELS

from .class_map import WHAT_TO_WRITE, load_class_map


@MODELS.register_module()
class LogitConnector(nn.Module):
    """Logits (N, C_teacher) to float32 logits (N, C_student), for ``connectors=`` of a distiller.

    ::

        out[i, k] = logits[i, class_map[k]]

    The softmax that follows normalises over the chosen classes: what the teacher gave to the others is shared
    out in proportion. Without a map, or where the map is 0, 1, 2, …, nothing is copied: float32 logits come
    back in the same storage.

    Args:
        class_map: the teacher's index of each student class: a list, or the path of a ``.json`` file (a
            list), a ``.txt`` file (one index a line) or a ``.npy`` file (a one-dimensional integer array).
            None when both have the same classes in the same order. A repeated index is allowed, since a
            teacher may have one class for two of the student's, but warned of: more often it is a slip.

    The map is a buffer, so that it follows the model to its device, but no checkpoint holds it.
    ``num_classes`` is the length of the map, None without one.

    Raises:
        ConfigError: at construction, for a missing or unreadable file, an empty map, or an index that is not
            an integer or is negative; in :meth:`check` and at the first forward, for an index beyond the
            teacher's classes.

    >>> LogitConnector([2, 0])(torch.tensor([[1., 2., 3.]]))
    tensor([[3., 1.]])
    """

    class_map: Tensor | None

    def __init__(self, class_map: Iterable[int] | str | Path | None = None) -> None:
        super().__init__()
        indices = None if class_map is None else load_class_map(class_map)
        self.num_classes = None if indices is None else len(indices)
        self._largest = -1 if indices is None else max(indices)
        self._is_prefix = indices is not None and indices == list(range(len(indices)))
        buffer = None if indices is None else torch.tensor(indices)
        self.register_buffer('class_map', buffer, persistent=False)

    def forward(self, record: Tensor) -> Tensor:
        """The logits (N, C_student): float64 stays, every other type becomes float32."""
        if not isinstance(record, Tensor) or not record.is_floating_point():
            given = record.dtype if isinstance(record, Tensor) else type(record).__name__
            raise TypeError(f'LogitConnector was given {given}, but a floating point tensor (N, C) is '
                            'expected: record the output of a head that returns one tensor.')
        if record.ndim != 2:
            raise ValueError(f'LogitConnector was given shape {tuple(record.shape)}, but logits (N, C) are '
                             'expected: record the output of the head, not a feature map.')
        if self.class_map is not None:
            self._check_teacher(record.shape[1])
            if self._is_prefix:
                record = record[:, :self.num_classes]
            else:
                record = record.index_select(1, self.class_map)
        return record if record.dtype == torch.float64 else record.float()

    def check(self, teacher_classes: int, student_classes: int) -> None:
        """Raise :class:`ConfigError` unless the map leads from ``teacher_classes`` to ``student_classes``."""
        counts = f'The teacher has {teacher_classes} classes and the student {student_classes}'
        if self.num_classes is None:
            if teacher_classes != student_classes:
                raise ConfigError(f'{counts}, but the LogitConnector has no class_map: {WHAT_TO_WRITE}, '
                                  f'{student_classes} in all.')
            return
        if self.num_classes != student_classes:
            raise ConfigError(f'{counts}, but class_map has {self.num_classes} entries: {WHAT_TO_WRITE}, '
                              f'{student_classes} in all.')
        self._check_teacher(teacher_classes, f'{counts}, but ')

    def extra_repr(self) -> str:
        """The size of the map, for ``print(model)``."""
        return '' if self.num_classes is None else f'num_classes={self.num_classes}'

    def _check_teacher(self, teacher_classes: int, context: str = '') -> None:
        if self._largest >= teacher_classes:
            raise ConfigError(f'{context}class_map names class {self._largest} of a teacher with '
                              f'{teacher_classes} classes, 0 to {teacher_classes - 1}: {WHAT_TO_WRITE}.')
