"""Weighted soft labels as a module for configs."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from wsld_plugin.registry import MODELS

from . import functional
from .checks import check_loss_weight, check_tau
from .sample_factors import SampleFactors


@MODELS.register_module()
class WSLD(nn.Module):
    """``loss_weight · wsld(student, teacher, gt_labels, tau)``, as in ``losses.functional``.

    Signature and defaults are those of MMRazor's loss of this name, so ``type='wsld_plugin.WSLD'`` is the one
    change to a config that uses it. It differs in that targets may be probabilities, the teacher is detached,
    its cross entropy may be given and half precision is computed in float32. The paper's ImageNet setting is
    ``tau=2, loss_weight=2.5``.

    Args:
        tau: temperature, positive.
        loss_weight: factor of the mean over the batch.
        num_classes: ignored; the logits tell.
        samples: factors of the regularization samples and of the others, beside the weights; see
            :class:`wsld_plugin.losses.sample_factors.SampleFactors`. None: no factors.
    """

    def __init__(self, tau: float = 1.0, loss_weight: float = 1.0, num_classes: int | None = None,
                 samples: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        check_tau(tau)
        check_loss_weight(loss_weight)
        self.tau = tau
        self.loss_weight = loss_weight
        self.samples = None if samples is None else SampleFactors(samples)

    def forward(self, student: Tensor, teacher: Tensor, gt_labels: Tensor,
                teacher_ce: Tensor | None = None) -> Tensor:
        """The loss of logits (N, C) for indices (N,) or probabilities (N, C), a scalar in nats.

        ``teacher_ce``, (N,) in nats, is the teacher's cross entropy where it is known more exactly than
        ``teacher`` tells it, as of a cache.
        """
        value = functional.wsld(student, teacher, gt_labels, self.tau, 'none' if self.samples else 'mean', teacher_ce)
        if self.samples:
            value = self.samples.mean(value, student, teacher, gt_labels, self.tau)
        return self.loss_weight * value

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        return (f'tau={self.tau}, loss_weight={self.loss_weight}'
                + (f', samples={self.samples.settings}' if self.samples else ''))
