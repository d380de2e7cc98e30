"""What a distillation loss was given, kept on the device until it is measured."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsld_plugin.analysis.regularization import sample_measures
from wsld_plugin.losses.checks import HIDDEN

# Logits that wait to be measured, of student and teacher together: 16 MiB of float32.
_MOST_WAITING = 2**22


class GivenBatch(NamedTuple):
    """Copies of what the loss was given of N samples.

    ``logits``: of student and teacher, (2, N, C). ``target``: (N,) or (N, C). ``teacher_ce``: (N,) or None. ``tau``:
    the loss's temperature then.
    """

    logits: Tensor
    target: Tensor
    teacher_ce: Tensor | None
    tau: float

    @classmethod
    def of(cls, student: Tensor, teacher: Tensor, target: Tensor, teacher_ce: Tensor | None, tau: float,
           ) -> GivenBatch:
        """Copies, without a graph."""
        return cls(torch.stack([student.detach(), teacher.detach()]), target.detach().clone(),
                   None if teacher_ce is None else teacher_ce.detach().clone(), tau)

    def clone(self) -> GivenBatch:
        """Other copies."""
        student, teacher = self.logits
        return self.of(student, teacher, self.target, self.teacher_ce, self.tau)


class GivenBatches:
    """Batches, measured many at once: an operation on a small batch costs little more for a larger one.

    They wait on their device, which is not waited for until they are read. Of large batches not all wait.
    """

    def __init__(self) -> None:
        self._waiting: list[GivenBatch] = []
        self._measures: list[Tensor] = []
        self._from: list[tuple[np.ndarray, int]] = []
        self._logits = 0  # that wait

    def __len__(self) -> int:
        return len(self._from)

    def add(self, batch: GivenBatch, places: np.ndarray, epoch: int) -> None:
        """Keep a batch of this epoch, whose samples have these places (N,) in the training set."""
        self._waiting.append(batch)
        self._from.append((places, epoch))
        self._logits += batch.logits.numel()
        if self._logits > _MOST_WAITING:
            self._measure()

    def read(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Measures (8, N) of all samples since the last time, their places and epochs (2, N); None where none were.

        The measures of a sample with a hidden label are NaN.
        """
        if not self._from:
            return None
        self._measure()
        places, epochs = zip(*self._from, strict=True)
        origins = np.stack([np.concatenate(places), np.repeat(epochs, [len(each) for each in places])])
        found = torch.cat(self._measures, 1).cpu().numpy(), origins
        self._measures, self._from = [], []
        return found

    def _measure(self) -> None:
        waiting, self._waiting, self._logits = self._waiting, [], 0
        for _, group in groupby(waiting, _kind):
            logits, targets, cross_entropies, (tau, *_) = zip(*group, strict=True)
            student, teacher = torch.cat(logits, 1)
            teacher_ce = None if cross_entropies[0] is None else torch.cat(cross_entropies)
            self._measures.append(_measures(student, teacher, torch.cat(targets), tau, teacher_ce))


def places_of(data_batch: Any, n: int) -> np.ndarray:
    """The places of a batch's samples in the training set, (N,), -1 where that is not known."""
    if hasattr(data_batch, 'keys_of_samples'):  # asking resident data for its samples would compute them
        keys: Sequence[Any] = data_batch.keys_of_samples or [None] * n
    else:
        samples = data_batch.get('data_samples') if isinstance(data_batch, Mapping) else None
        keys = [getattr(sample, 'sample_key', None) for sample in samples or [None] * n]
    return np.array([-1 if key is None else key.index for key in keys])


def _measures(student: Tensor, teacher: Tensor, target: Tensor, tau: float, teacher_ce: Tensor | None) -> Tensor:
    """Those of :func:`sample_measures`, NaN where the label is hidden."""
    if target.is_floating_point():
        return sample_measures(student, teacher, target, tau, teacher_ce)
    hidden = target == HIDDEN
    measures = sample_measures(student, teacher, target.masked_fill(hidden, 0), tau, teacher_ce)
    return measures.masked_fill_(hidden, torch.nan)


def _kind(batch: GivenBatch) -> tuple[object, ...]:
    """What is equal among batches that can be measured as one."""
    return batch.tau, batch.logits.shape[2], batch.logits.dtype, batch.target.dtype, batch.teacher_ce is None
