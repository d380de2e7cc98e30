"""Whether a loss and its gradient are what the equations say, in float64."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .gate import RefusedVariant

# Relative, of the value and of the largest gradient. float32: sums of 128,000 terms. Below: MMRazor's computes in it.
TOLERANCES = {torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}

Oracle = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


def wsld_oracle(student: Tensor, teacher: Tensor, target: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """``τ² · mean(w · L)`` and ``τ · w / N · (softmax(s/τ) - softmax(t/τ))`` in float64."""
    student, teacher = student.detach().double(), teacher.double()
    p = F.softmax(teacher / tau, 1)
    ratio = F.cross_entropy(student, target, reduction='none') / (
        F.cross_entropy(teacher, target, reduction='none') + 1e-7)
    weights = -torch.expm1(-ratio)
    value = tau**2 * (weights * F.cross_entropy(student / tau, p, reduction='none')).mean()
    return value, (F.softmax(student / tau, 1) - p) * (tau / len(student) * weights).unsqueeze(1)


def kd_oracle(student: Tensor, teacher: Tensor, target: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """``τ² · mean KL(softmax(t/τ) ‖ softmax(s/τ))`` and ``τ / N · (softmax(s/τ) - softmax(t/τ))`` in float64."""
    student, teacher = student.detach().double(), teacher.double()
    log_q, log_p = F.log_softmax(student / tau, 1), F.log_softmax(teacher / tau, 1)
    p = log_p.exp()
    return tau**2 * (p * (log_p - log_q)).sum(1).mean(), (log_q.exp() - p) * (tau / len(student))


def check_exact(name: str, value: Tensor, gradient: Tensor, wanted: tuple[Tensor, Tensor]) -> dict[str, float]:
    """The errors of a loss and its gradient, each relative to the largest that is wanted.

    Raises:
        RefusedVariant: one is above the tolerance of the gradient's type, or not a number.
    """
    errors = {}
    tolerance = TOLERANCES[gradient.dtype]
    for kind, found, exact in zip(('value', 'gradient'), (value, gradient), wanted, strict=True):
        error = ((found.detach().double() - exact).abs().max() / exact.abs().max()).item()
        if not error <= tolerance:
            raise RefusedVariant(f'{name} is not timed: its {kind} is {error:.1e} of the largest away from that in '
                                 f'float64; expected at most {tolerance:.0e} in {gradient.dtype}.')
        errors[f'{kind}_error'] = error
    return errors
