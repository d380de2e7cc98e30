"""A loss on soft labels with its gradient, both computed in one pass over the logits."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Logits at a time on a CPU: two temporary tensors of 1 MB each in float32 stay in the cache.
_AT_ONCE = 2**18

# (student, teacher, *per_sample, out) of n samples -> their values (n,), factors c (n,), p and q = softmax(s / τ),
# both (n, C). p and q are the caller's to change; p lies in ``out`` where that is not None. The values come out of
# an operation that is not in place: torch.compile (2.11) loses the gradient of a result that was changed in place.
Rows = Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]


def fused_loss(rows: Rows, tau: float, student: Tensor, teacher: Tensor, dtype: torch.dtype,
               *per_sample: Tensor | None) -> Tensor:
    """A loss per sample whose gradient is a multiple of a difference of probabilities.

    ::

        ∂value_i/∂s_i = c_i · (p_i - softmax(s_i / τ))

    The forward pass computes this difference beside the value and makes nothing else of shape (N, C) that stays;
    the backward pass scales it. On a CPU the forward pass takes a few samples at a time, so that its temporary
    tensors stay small. The result can be differentiated again; ``c`` and ``p`` count as constants.

    Args:
        rows: computes values, c, p and softmax(s / τ) of some samples; see ``Rows``.
        tau: temperature τ > 0 of the student.
        student: ``s``, (N, C).
        teacher: (N, C), without gradient.
        dtype: of the arithmetic, the values and the difference that is kept.
        per_sample: tensors of N rows without gradient, or None, handed on to ``rows``.

    Returns:
        (N,), of type ``dtype``.
    """
    if student.requires_grad and torch.is_grad_enabled():
        return _Fused.apply(student, teacher, rows, tau, dtype, *per_sample)
    return _batch(rows, student.detach(), teacher, dtype, per_sample, with_gradient=False)[0]


class _Fused(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, rows: Rows, tau: float, dtype: torch.dtype,
                *per_sample: Tensor | None) -> Tensor:
        values, factors, difference = _batch(rows, student, teacher, dtype, per_sample, with_gradient=True)
        ctx.save_for_backward(student, factors, difference)
        ctx.tau = tau
        return values

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        student, factors, difference = ctx.saved_tensors
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # Under create_graph: adds 0, and what the kept difference lacks, its dependence on the student.
            q = F.softmax(student.to(difference.dtype) / ctx.tau, dim=1)
            difference = difference - (q - q.detach())
        gradient = difference * (grad_output * factors).unsqueeze(1)
        return gradient.to(student.dtype), *[None] * (len(ctx.needs_input_grad) - 1)


def _batch(rows: Rows, student: Tensor, teacher: Tensor, dtype: torch.dtype, per_sample: tuple[Tensor | None, ...],
           with_gradient: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Values, factors and p - q of all samples; the last is None where no gradient is wanted."""
    n, c = student.shape
    size = max(1, _AT_ONCE // c)
    # Elsewhere than on a CPU a launch costs more than memory does; a compiler finds its own order.
    if size >= n or student.device.type != 'cpu' or torch.compiler.is_compiling():
        values, factors, p, q = rows(student, teacher, *per_sample, out=None)
        return values, factors, p.sub_(q) if with_gradient else None
    difference = torch.empty(n, c, dtype=dtype) if with_gradient else None
    parts = []
    for first in range(0, n, size):
        *given, out = [None if each is None else each[first:first + size]
                       for each in (student, teacher, *per_sample, difference)]
        values, factors, p, q = rows(*given, out=out)
        if with_gradient:
            p.sub_(q)
        parts.append((values, factors))
    values, factors = map(torch.cat, zip(*parts, strict=True))
    return values, factors, difference
