"""Which classes a teacher takes for each other, and which images it cannot decide on."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .sums import SampleSums, check_samples, top_shares


class Confused(NamedTuple):
    """A class and a wrong one for it.

    Attributes:
        label: the class.
        taken_for: the wrong one.
        mistakes: how many samples of the class have it on top.
        share: of the samples of the class.
        probability: mean p[taken_for] of the samples of the class: what a student is told about the pair.
    """

    label: int
    taken_for: int
    mistakes: float
    share: float
    probability: float


class ConfusionStatistics(SampleSums):
    """Mean soft labels and top classes of each class, in one pass over the samples.

    ::

        soft[c] = mean of softmax(t_i) over i with y_i = c
        top[c, d] = number of samples with y_i = c that have d on top

    Ties on top count in equal shares. Memory: 2·C² numbers.

    Args:
        num_classes: C.

    >>> statistics = ConfusionStatistics(num_classes=2)
    >>> statistics.update(torch.tensor([[0., 1.], [1., 0.]]), torch.tensor([0, 0]))
    >>> statistics.top()
    array([[1., 1.],
           [0., 0.]])
    """

    def __init__(self, num_classes: int) -> None:
        shape = num_classes, num_classes
        super().__init__(dict(num_classes=num_classes), dict(soft=shape, top=shape))

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Take in a batch: logits (N, C), class indices (N,).

        Raises:
            TypeError, ValueError: see :func:`wsld_plugin.analysis.sums.check_samples`.
        """
        logits, target = check_samples(logits, target, self.settings['num_classes'])
        self._move(logits.device)
        self.sums['soft'].index_add_(0, target, logits.double().softmax(1))
        self.sums['top'].index_add_(0, target, top_shares(logits))

    def soft(self) -> np.ndarray:
        """The mean soft label of each class, (C, C), rows in sum 1; NaN for a class without samples."""
        with np.errstate(invalid='ignore'):
            return self.sums['soft'].cpu().numpy() / self._counts()

    def top(self) -> np.ndarray:
        """How many samples of a class (row) have which on top (column), (C, C)."""
        return self.sums['top'].cpu().numpy()

    def most_confused(self, most: int) -> list[Confused]:
        """Pairs of a class and a wrong one, most mistakes first, at most ``most``; equals by mean probability.

        Pairs that no sample gave any probability to are left out.
        """
        top, soft, counts = self.top(), np.nan_to_num(self.soft()), self._counts()[:, 0]
        probability = soft - np.diag(soft.diagonal())
        mistakes = np.where(probability > 0, top, 0)
        order = np.lexsort((-probability.ravel(), -mistakes.ravel()))[:most]
        pairs = [divmod(int(place), len(top)) for place in order]
        return [Confused(label, wrong, float(top[label, wrong]), float(top[label, wrong] / counts[label]),
                         float(soft[label, wrong]))
                for label, wrong in pairs if probability[label, wrong] > 0]

    def _counts(self) -> np.ndarray:
        return self.sums['top'].sum(1, keepdim=True).round().cpu().numpy()


def entropy_of(logits: Tensor) -> Tensor:
    """How undecided a teacher is about each sample: the entropy of softmax(t), (N,), in nats, float64."""
    return torch.special.entr(logits.double().softmax(1)).sum(1)
