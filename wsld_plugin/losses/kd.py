"""Knowledge distillation as a module for configs."""
from __future__ import annotations

from torch import Tensor, nn

from wsld_plugin.registry import MODELS

from . import functional
from .checks import check_loss_weight, check_tau


@MODELS.register_module()
class KD(nn.Module):
    """``loss_weight · kd(student, teacher, tau)``, as in ``losses.functional``.

    Args:
        tau: temperature, positive.
        loss_weight: factor of the mean over the batch.
    """

    def __init__(self, tau: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_tau(tau)
        check_loss_weight(loss_weight)
        self.tau = tau
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor, gt_labels: Tensor | None = None) -> Tensor:
        """The loss of logits (N, C), a scalar in nats.

        ``gt_labels`` is ignored: KD and WSLD are interchangeable in a config's forward mapping.
        """
        return self.loss_weight * functional.kd(student, teacher, self.tau)

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        return f'tau={self.tau}, loss_weight={self.loss_weight}'
