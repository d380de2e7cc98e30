"""Knowledge distillation as a module for configs."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from wsld_plugin.errors import check_choice
from wsld_plugin.registry import MODELS

from . import functional
from .checks import check_flag, check_loss_weight, check_tau
from .sample_factors import SampleFactors

MEANS = ('samples', 'elements')


@MODELS.register_module()
class KD(nn.Module):
    """Knowledge distillation with every factor that papers and codes differ in.

    ::

        loss = loss_weight · multiplier · [τ²] · (1/N or 1/(N·C)) · Σ_i KL(softmax(t_i / τ) ‖ softmax(s_i / τ_s))

    With the defaults it is ``loss_weight · losses.functional.kd(student, teacher, tau)``.

    Args:
        tau: temperature τ of the teacher, positive.
        loss_weight: α, factor of the whole.
        student_tau: temperature τ_s of the student, positive; τ when None.
        tau_squared: whether the factor τ² is there.
        mean_over: ``'samples'`` divides the sum by N, ``'elements'`` by N·C, as PyTorch's ``KLDivLoss()``
            does up to 2.11 when nothing is said.
        multiplier: a second constant factor, for codes that state one beside α.
        samples: factors of the regularization samples and of the others; see
            :class:`wsld_plugin.losses.sample_factors.SampleFactors`. They are told apart at τ, for both networks.
            None: all count alike.

    Source: Hinton et al., 2015, arXiv 1503.02531; from ``student_tau`` to ``multiplier``, for Yuan et al., CVPR 2020,
    arXiv 1909.11723, whose paper has no τ² and whose code divides by N·C and has a multiplier; ``samples``, for Zhou
    et al., ICLR 2021, arXiv 2102.00650.
    """

    def __init__(self, tau: float = 1.0, loss_weight: float = 1.0, student_tau: float | None = None,
                 tau_squared: bool = True, mean_over: str = 'samples', multiplier: float = 1.0,
                 samples: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        check_tau(tau)
        check_loss_weight(loss_weight)
        if student_tau is not None:
            check_tau(student_tau, 'student_tau')
        check_flag(tau_squared, 'tau_squared')
        check_choice('mean_over', mean_over, MEANS)
        check_loss_weight(multiplier, 'multiplier')
        self.tau = tau
        self.loss_weight = loss_weight
        self.student_tau = student_tau
        self.tau_squared = tau_squared
        self.mean_over = mean_over
        self.multiplier = multiplier
        self.samples = None if samples is None else SampleFactors(samples)

    def forward(self, student: Tensor, teacher: Tensor, gt_labels: Tensor | None = None) -> Tensor:
        """The loss of logits (N, C), a scalar in nats.

        ``gt_labels``, indices (N,) or probabilities (N, C), is read where there are ``samples`` and else ignored: KD
        and WSLD are interchangeable in a config's forward mapping.
        """
        divergence = functional.kd(student, teacher, self.tau, 'none' if self.samples else 'mean',
                                   student_tau=self.student_tau, tau_squared=self.tau_squared)
        if self.samples:
            divergence = self.samples.mean(divergence, student, teacher, gt_labels, self.tau)
        classes = student.shape[1] if self.mean_over == 'elements' else 1
        return self.loss_weight * self.multiplier / classes * divergence

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``; those that are rarely set only where they are."""
        text = f'tau={self.tau}, loss_weight={self.loss_weight}'
        rare = dict(student_tau=None, tau_squared=True, mean_over='samples', multiplier=1.0)
        text += ''.join(f', {name}={getattr(self, name)!r}' for name, default in rare.items()
                        if getattr(self, name) != default)
        return text + (f', samples={self.samples.settings}' if self.samples else '')
