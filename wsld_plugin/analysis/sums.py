"""Sums over samples, and which samples may go into them."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from wsld_plugin.losses.checks import check_range, check_target

Own = TypeVar('Own', bound='SampleSums')


class SampleSums:
    """Named float64 sums over samples: those of the parts of a data set add up to those of the whole.

    Args:
        settings: what two of them must agree in to be added up.
        shapes: the shape of each sum by its name.

    Attributes:
        sums: the sums by name, on the device of the logits that came last.
    """

    def __init__(self, settings: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> None:
        self.settings = dict(settings)
        self.sums = {name: torch.zeros(tuple(shape), dtype=torch.float64) for name, shape in shapes.items()}

    def merge(self: Own, other: Own) -> Own:
        """Add those of other samples; returns itself.

        Raises:
            ValueError: the other is of another kind or has other settings.
        """
        if type(other) is not type(self) or other.settings != self.settings:
            raise ValueError(f'{type(self).__name__} with {self.settings} cannot take in {type(other).__name__} with '
                             f'{getattr(other, "settings", None)}: make both with the same settings.')
        for name, value in other.sums.items():
            self.sums[name] += value.to(self.sums[name].device)
        return self

    def reduce(self: Own) -> Own:
        """Add up over the ranks, in place on each; nothing happens where there is one. Returns itself."""
        for value in self.sums.values():
            all_reduce(value)
        return self

    def _move(self, device: torch.device) -> None:
        self.sums = {name: value.to(device) for name, value in self.sums.items()}


def check_samples(logits: Tensor, target: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Refuse what cannot be measured.

    Args:
        logits: (N, C), floating point; -inf is a probability of 0.
        target: class indices (N,).
        num_classes: C.

    Returns:
        Both, detached and on the device of the logits; the target as int64.

    Raises:
        TypeError, ValueError: a wrong type or shape; a class out of range; rows with NaN, with +inf or with nothing
            but -inf: the message says how many and where.
    """
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise TypeError(f'The logits are {getattr(logits, "dtype", type(logits).__name__)}, but a floating point '
                        'tensor (N, C) is expected.')
    if logits.ndim != 2 or logits.shape[1] != num_classes or len(logits) == 0:
        raise ValueError(f'The logits have shape {tuple(logits.shape)}, but (N, {num_classes}) with at least one '
                         'sample is expected.')
    logits, target = logits.detach(), check_target(target, *logits.shape)
    if target.is_floating_point():
        raise ValueError('The target holds probabilities, but class indices (N,) are expected: whether a soft label '
                         'is right can only be told where there is one right class. Leave Mixup and CutMix out.')
    check_range(target.cpu(), num_classes)
    largest = logits.amax(1)  # NaN where there is one
    wrong = (~largest.isfinite()).nonzero().flatten().tolist()
    if wrong:
        places = ', '.join(map(str, wrong[:5])) + (', …' if len(wrong) > 5 else '')
        raise ValueError(f'{len(wrong)} of {len(logits)} samples have no usable logits (NaN, +inf or nothing but '
                         f'-inf), at {places} of the batch: the teacher has diverged, its weights are damaged, or '
                         'its inputs are not normalised as it expects.')
    return logits, target.to(logits.device)


def top_shares(logits: Tensor) -> Tensor:
    """The probability, (N, C) float64, with which each class is the top one where ties are drawn by lot."""
    top = (logits == logits.amax(1, keepdim=True)).double()
    return top / top.sum(1, keepdim=True)
