"""Cross entropy against soft labels at a temperature, with its gradient in closed form."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def soft_cross_entropy(logits: Tensor, probabilities: Tensor, tau: float) -> Tensor:
    """Cross entropy of tempered logits against fixed probabilities, per sample.

    ::

        L_i       = -Σ_k p_i[k] · log_softmax(s_i / τ)[k]
        ∂L_i/∂s_i = (softmax(s_i / τ) - p_i) / τ

    The closed form takes the place of autograd's chain of product, log-softmax and division, because it moves
    fewer bytes. It can be differentiated again.

    Args:
        logits: ``s``, (N, C), float32 or float64.
        probabilities: ``p``, (N, C), the same type; every row sums to 1. They receive no gradient.
        tau: temperature τ > 0.

    Returns:
        (N,), in nats.
    """
    return _SoftCrossEntropy.apply(logits, probabilities, tau)


class _SoftCrossEntropy(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, logits: Tensor, probabilities: Tensor, tau: float) -> Tensor:
        log_q = F.log_softmax(logits / tau, dim=1)
        ctx.save_for_backward(logits, probabilities, log_q)
        ctx.tau = tau
        return -(probabilities * log_q).sum(1)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        logits, probabilities, log_q = ctx.saved_tensors
        # log_q has no graph: under create_graph the probabilities must come from the logits again.
        q = F.softmax(logits / ctx.tau, dim=1) if torch.is_grad_enabled() else log_q.exp()
        return (q - probabilities) * (grad_output / ctx.tau).unsqueeze(1), None, None
