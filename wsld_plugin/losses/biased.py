"""Losses on biased soft labels: candidate sets with the label in them, and teachers whose top-1 class is wrong."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsld_plugin.errors import ConfigError, check_integer, check_number
from wsld_plugin.registry import MODELS

from . import checks
from .functional import one_hot
from .soft_label import SoftLabelLoss


def partial_label(student_logits: Tensor, teacher_logits: Tensor, tau: float = 1.0) -> Tensor:
    """Negative log-likelihood that the student's class is among the candidates.

    ::

        loss = -mean_i log Σ_c u_i[c] · softmax(s_i)[c],    u_i = exp((t_i - max_c t_i[c]) / τ)
        ∂loss/∂s_i = 1/N · (softmax(s_i) - r_i),            r_i[c] ∝ u_i[c] · softmax(s_i)[c]

    u is the plausibility of each class, 1 for the likeliest. For a candidate set S, u is 1 in it and 0 outside, and
    the loss is -log Σ_{c ∈ S} softmax(s)[c], 0 if all of the student's probability is in S. Unlike KD, the
    distribution within S is free, so the student can learn which candidate also fits other images.

    Args:
        student_logits, teacher_logits: ``s`` and ``t``, (N, C). ``t``, detached, is up to a constant τ times the log
            of the plausibilities, such as `TopClasses` and, for candidate sets, `GivenTeacher` give; -inf: an
            impossible class.
        tau: τ > 0.

    Returns:
        A scalar in nats, ≥ 0 up to rounding. One candidate: the cross entropy. Equal teacher logits: 0 for any
        student.

    Source: the classifier-consistent (CC) loss of Feng et al., Provably Consistent Partial-Label Learning, NeurIPS
    2020, arXiv 2007.08929: with enough samples its minimum is that of the labels, if each set has the label and its
    other members are drawn at random. The paper has sets; real-valued u is this project's own.

    >>> student, candidates = torch.tensor([[0.6, 0.3, 0.1]]).log(), torch.tensor([[1., 0., 1.]]).log()
    >>> partial_label(student, candidates).exp()  # 1 / 0.7
    tensor(1.4286)
    """
    checks.check_tau(tau)
    s, t = checks.prepare_logits(student_logits, teacher_logits)
    log_u = (t - t.amax(1, keepdim=True)) / tau
    return -(s.log_softmax(1) + log_u).logsumexp(1).mean()


@MODELS.register_module()
class PartialLabelLoss(SoftLabelLoss):
    """``loss_weight`` · :func:`partial_label` at temperature ``tau`` > 0, for ``distill_losses`` of a distiller."""

    def __init__(self, tau: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(tau, loss_weight)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of logits (N, C), a scalar in nats."""
        return self.loss_weight * partial_label(student, teacher, self.tau)


def bad_teacher(logits: Tensor, target: Tensor, companions: Tensor, punish: float = 2.0, compensate: float = 1.5,
                random: float = 2.0, punish_margin: float = 2.0, compensate_margin: float = 1.0) -> Tensor:
    """Train a classifier to rank random companions R before the label y, and y before all other classes.

    ::

        L = CE + α₁ L_pun + α₂ L_comp + α₃ L_rnd    in nats, the mean over N

        L_pun  = max(0, m₁ + z[y] - max_{c ∈ R} z[c])          y is not the first
        L_comp = max(0, m₂ + max_{c ∉ R, c ≠ y} z[c] - z[y])   y stays in the first k = |R| + 1
        L_rnd  = -1/|R| Σ_{c ∈ R} log softmax_{c ≠ y}(z)[c]    R fills the other k - 1 places

    CE raises z[y] up to m₁ below the first companion; L_rnd does not move z[y]. The companions are drawn for every
    image: a network that chose them would rank the same class first for all images of a class, and a student would
    learn it. If L_pun is stronger than L_comp and CE together, y can fall behind all classes before the companions
    are learnt.

    Args:
        logits, target: z (N, C), of the teacher that is trained, and y (N,), class indices.
        companions: R (N, C) bool: the same number of wrong classes in each row, at least one.
        punish, compensate, random: α₁, α₂ and α₃.
        punish_margin, compensate_margin: m₁ and m₂, in logits.

    Returns:
        A scalar, float32 at least.

    Source: the four terms are named by Yuan et al., Learning From Biased Soft Labels, NeurIPS 2023, arXiv 2302.08155;
    their equations are not public, so these are this project's own.

    >>> bad_teacher(torch.tensor([[4., 2., 0.]]), torch.tensor([1]), torch.tensor([[True, False, False]]))
    tensor(2.1792)
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    own = one_hot(target, logits.shape[1])
    label = logits.gather(1, target[:, None])[:, 0]
    first = logits.masked_fill(~companions, -torch.inf).amax(1)
    other = logits.masked_fill(companions | own, -torch.inf).amax(1)  # -inf if k = C: then L_comp is 0
    punished = F.relu(punish_margin + label - first).mean()
    compensated = F.relu(compensate_margin + other - label).mean()
    among_wrong = logits.masked_fill(own, -torch.inf).log_softmax(1).masked_fill(~companions, 0.0)
    placed = -(among_wrong.sum(1) / companions.sum(1)).mean()
    return F.cross_entropy(logits, target) + punish * punished + compensate * compensated + random * placed


@MODELS.register_module()
class BadTeacherLoss(nn.Module):
    """:func:`bad_teacher` as the ``loss`` of a classifier's head: its top-1 is wrong, and its top-k holds the label.

    The target gives the companions: probabilities (N, C), 2/(k + 1) for the label and 1/(k + 1) for each companion,
    from the data set `wsld_plugin.Companions`, the same in every epoch. The teacher memorises them, so that they
    follow no rule that a student could learn. Class indices, and mixed or smoothed targets, are rejected.

    Args:
        k: 2 … C; must be that of ``Companions``.
        punish, compensate, random, punish_margin, compensate_margin: see :func:`bad_teacher`; ≥ 0.
        loss_weight: factor of the loss, ≥ 0.
    """

    def __init__(self, k: int = 3, punish: float = 2.0, compensate: float = 1.5, random: float = 2.0,
                 punish_margin: float = 2.0, compensate_margin: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_integer('BadTeacherLoss: k', k, 2)
        self.weights = dict(punish=punish, compensate=compensate, random=random, punish_margin=punish_margin,
                            compensate_margin=compensate_margin)
        for name, value in (*self.weights.items(), ('loss_weight', loss_weight)):
            check_number(f'BadTeacherLoss: {name}', value, 0)
        self.k, self.loss_weight = k, loss_weight

    def forward(self, cls_score: Tensor, target: Tensor, **_: Any) -> Tensor:
        """The loss of logits (N, C) for a target (N, C), a scalar in nats.

        A ``k`` above C or an invalid target raises as in :mod:`wsld_plugin.losses.functional`.
        """
        n, c = cls_score.shape
        if self.k > c:
            raise ConfigError(f'BadTeacherLoss: k={self.k}, but there are {c} classes: expected 2 … {c}, and the '
                              'same k for wsld_plugin.Companions.')
        target = checks.check_target(target, n, c)
        if not target.is_floating_point():
            raise ConfigError('BadTeacherLoss is given class indices, expected the probabilities of '
                              f'wsld_plugin.Companions: wrap the training set in it, with k={self.k}.')
        label, companions = read_companions(target, self.k)
        return self.loss_weight * bad_teacher(cls_score, label, companions, **self.weights)

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        settings = dict(k=self.k, **self.weights, loss_weight=self.loss_weight)
        return ', '.join(f'{name}={value}' for name, value in settings.items())


def read_companions(target: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Labels (N,) and companions (N, C) bool of a target (N, C); see :class:`BadTeacherLoss`."""
    label = target.argmax(1)
    own = one_hot(label, target.shape[1])
    companions = (target > 0) & ~own
    counts, expected = companions.sum(1), 2 * own + companions.float()
    tolerance = max(1e-3, torch.finfo(target.dtype).eps)
    right = ((target.float() * (k + 1) - expected).abs() <= tolerance * expected).all(1)
    checks.require(
        right & (counts == k - 1),
        f'BadTeacherLoss(k={k}) needs {k - 1} companions of {1 / (k + 1):.4g} each and {2 / (k + 1):.4g} for the '
        f'label: set k={k} in wsld_plugin.Companions, and remove what mixes or smooths targets (Mixup, CutMix).',
        companions=counts, largest=target.amax(1), smallest=target.masked_fill(target <= 0, 1.0).amin(1))
    return label, companions
