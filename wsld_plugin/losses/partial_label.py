"""Learning from a set of candidates, of which one is the label."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from wsld_plugin.registry import MODELS

from .checks import check_loss_weight, check_tau, prepare_logits


def partial_label(student_logits: Tensor, teacher_logits: Tensor, tau: float = 1.0) -> Tensor:
    """Minus the log-likelihood that the student's class is among the candidates.

    ::

        loss = -mean_i log Σ_c u_i[c] · softmax(s_i)[c],    u_i = exp((t_i - max_c t_i[c]) / τ)
        ∂loss/∂s_i = 1/N · (softmax(s_i) - r_i),            r_i[c] ∝ u_i[c] · softmax(s_i)[c]

    u says how plausible each class is, 1 for the likeliest. For a candidate set S, u is 1 in it and 0 outside, and
    the loss is -log Σ_{c ∈ S} softmax(s)[c], 0 as soon as all of the student's probability is in S: other than KD, it
    does not ask for equal parts, and so lets the student find out which candidate fits the other images too.

    Args:
        student_logits: ``s``, (N, C).
        teacher_logits: ``t``, (N, C), detached: up to a constant, τ times the log of the plausibilities, such as
            `TopClasses` and, for candidate sets, `GivenTeacher` give. -inf: a class that it cannot be.
        tau: τ > 0.

    Returns:
        A scalar in nats, ≥ 0 but for rounding. One candidate: the cross entropy. Equal teacher logits: 0, whatever
        the student says.

    Raises:
        ConfigError, TypeError, ValueError: as :func:`wsld_plugin.losses.functional.kd`.

    Source: the classifier-consistent (CC) loss of Feng et al., Provably Consistent Partial-Label Learning, NeurIPS
    2020, arXiv 2007.08929: with enough samples its minimum is that of the labels, if the label is in each set and the
    others in it are drawn at random. Theirs has sets; u in place of 0 and 1 is the project's own.

    >>> student, candidates = torch.tensor([[0.6, 0.3, 0.1]]).log(), torch.tensor([[1., 0., 1.]]).log()
    >>> partial_label(student, candidates).exp()  # 1 / 0.7
    tensor(1.4286)
    """
    check_tau(tau)
    student_logits, teacher_logits, dtype = prepare_logits(student_logits, teacher_logits)
    teacher_logits = teacher_logits.to(dtype)
    plausible = (teacher_logits - teacher_logits.amax(1, keepdim=True)) / tau
    return -(torch.log_softmax(student_logits, 1, dtype=dtype) + plausible).logsumexp(1).mean()


@MODELS.register_module()
class PartialLabelLoss(nn.Module):
    """``loss_weight`` · :func:`partial_label`, one of a distiller's ``distill_losses``.

    Args:
        tau: temperature τ of the teacher, positive.
        loss_weight: a finite number.

    Raises:
        ConfigError: a setting that makes no sense.
    """

    def __init__(self, tau: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_tau(tau)
        check_loss_weight(loss_weight)
        self.tau = tau
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of logits (N, C), a scalar in nats."""
        return self.loss_weight * partial_label(student, teacher, self.tau)

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        return f'tau={self.tau}, loss_weight={self.loss_weight}'
