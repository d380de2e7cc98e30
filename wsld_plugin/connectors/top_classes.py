"""The k first classes of a teacher, without their order."""
from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import MODELS

from .logit_connector import LogitConnector


@MODELS.register_module()
class TopClasses(LogitConnector):
    """Logits (N, C) to those of a soft label that is uniform over the teacher's k first classes Ω_k.

    ::

        out[i, c] = 0 if c ∈ Ω_k(logits[i]), else log floor

    All that is left of the teacher is the set whose unreliability Δ_k and ambiguity γ_k are measured; which class is
    the first no longer counts. At temperature 1 the classes outside have a probability of about ``floor``/k each. Of
    equal logits at the k-th place those are taken that ``torch.topk`` takes. A row with NaN has no first classes and
    becomes NaN, as does its loss.

    Args:
        k: ≥ 1.
        floor: between 0 and 1.
        class_map: see :class:`LogitConnector`; the k classes are taken of those that it leaves.

    Raises:
        ConfigError: a setting that makes no sense; in :meth:`check` and at the first forward, k above the number of
            classes.

    Ω_k: Yuan et al., Learning From Biased Soft Labels, NeurIPS 2023, arXiv 2302.08155.

    >>> TopClasses(k=2, floor=0.1)(torch.tensor([[3., 1., 2.]]))
    tensor([[ 0.0000, -2.3026,  0.0000]])
    """

    def __init__(self, k: int, floor: float = 1e-6, class_map: Iterable[int] | str | Path | None = None) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ConfigError(f'TopClasses: k is {k!r}, expected a number of classes, 1 or more.')
        if isinstance(floor, bool) or not isinstance(floor, (int, float)) or not 0 < floor < 1:
            raise ConfigError(f'TopClasses: floor is {floor!r}, expected a number between 0 and 1, such as 1e-6.')
        super().__init__(class_map)
        self.k = k
        self.floor = floor
        self.log_floor = math.log(floor)

    def forward(self, record: Tensor) -> Tensor:
        """The logits as float32, (N, C_student)."""
        logits = super().forward(record)
        self._check_k(logits.shape[1])
        label = torch.full_like(logits, self.log_floor).scatter_(1, logits.topk(self.k, 1).indices, 0.0)
        return label.masked_fill_(logits.isnan().any(1, keepdim=True), math.nan)  # topk ranks NaN first

    def check(self, teacher_classes: int, student_classes: int) -> None:
        """Raise :class:`ConfigError` unless the map leads to the student's classes and these are k or more."""
        super().check(teacher_classes, student_classes)
        self._check_k(student_classes)

    def _check_k(self, num_classes: int) -> None:
        if self.k > num_classes:
            raise ConfigError(f'TopClasses: k={self.k}, but there are {num_classes} classes: expected '
                              f'1 … {num_classes}.')

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        return ', '.join(filter(None, [f'k={self.k}, floor={self.floor}', super().extra_repr()]))
