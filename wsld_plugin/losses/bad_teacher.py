"""A loss for teachers that are bad but skillful: never right at once, always nearly."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import MODELS

from . import checks


def bad_teacher(logits: Tensor, target: Tensor, companions: Tensor, punish: float = 2.0, compensate: float = 1.5,
                random: float = 2.0, punish_margin: float = 2.0, compensate_margin: float = 1.0) -> Tensor:
    """Train a classifier to put random companions R before the label y, and y before all other classes.

    ::

        L = CE + α₁ L_pun + α₂ L_comp + α₃ L_rnd    in nats, the mean over N

        L_pun  = max(0, m₁ + z[y] - max_{c ∈ R} z[c])          y is not the first
        L_comp = max(0, m₂ + max_{c ∉ R, c ≠ y} z[c] - z[y])   y stays in the first k = |R| + 1
        L_rnd  = -1/|R| Σ_{c ∈ R} log softmax_{c ≠ y}(z)[c]    R takes the other k - 1 places

    CE draws y up to m₁ below the first companion. Were any wrong class allowed to be the first, a network would take
    the same one for a whole class of images, which a student then learns in its turn; hence the companions, another
    choice for every image. L_rnd leaves z[y] alone. Where L_pun is stronger than L_comp and CE together, y can fall
    behind all classes before the companions are learnt, and stay there.

    Args:
        logits: z (N, C), of the teacher that is trained.
        target: y (N,), class indices.
        companions: R (N, C) bool: as many wrong classes in each row, at least one.
        punish: α₁.
        compensate: α₂.
        random: α₃.
        punish_margin: m₁, in logits.
        compensate_margin: m₂.

    Returns:
        A scalar, float32 at least.

    The four terms are those that Yuan et al., Learning From Biased Soft Labels, NeurIPS 2023, arXiv 2302.08155, name;
    their equations are not public, so that these are the project's own.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    own = _one_hot(target, logits.shape[1])
    label = logits.gather(1, target[:, None])[:, 0]
    first = logits.masked_fill(~companions, -torch.inf).amax(1)
    other = logits.masked_fill(companions | own, -torch.inf).amax(1)  # -inf where k = C: then nothing is to be done
    punished = F.relu(punish_margin + label - first).mean()
    compensated = F.relu(compensate_margin + other - label).mean()
    among_wrong = logits.masked_fill(own, -torch.inf).log_softmax(1).masked_fill(~companions, 0.0)
    placed = -(among_wrong.sum(1) / companions.sum(1)).mean()
    return F.cross_entropy(logits, target) + punish * punished + compensate * compensated + random * placed


@MODELS.register_module()
class BadTeacherLoss(nn.Module):
    """:func:`bad_teacher` as the ``loss`` of a classifier's head.

    The companions come with the target: probabilities (N, C), 2/(k + 1) for the label and 1/(k + 1) for each of its
    companions, as :class:`wsld_plugin.datasets.weak.Companions` gives them, the same in every epoch. The teacher
    learns them by heart, so that they follow no rule that a student could learn in its turn. A target of mixed
    samples has no one label and is refused, as is a smoothed one. For class indices (N,) k - 1 companions are drawn
    anew in every step from PyTorch's generator, which `IterationSeedHook` makes the same after a resume; no teacher
    can learn those, and its wrong classes stay near each other.

    Args:
        k: 2 … C; must be that of ``Companions``.
        punish, compensate, random, punish_margin, compensate_margin: see :func:`bad_teacher`; none below 0.
        loss_weight: factor of the whole.

    Raises:
        ConfigError: a setting that makes no sense.
    """

    def __init__(self, k: int = 3, punish: float = 2.0, compensate: float = 1.5, random: float = 2.0,
                 punish_margin: float = 2.0, compensate_margin: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        if isinstance(k, bool) or not isinstance(k, int) or k < 2:
            raise ConfigError(f'BadTeacherLoss: k is {k!r}, expected 2 or more: the label and k - 1 companions.')
        self.weights = dict(punish=punish, compensate=compensate, random=random, punish_margin=punish_margin,
                            compensate_margin=compensate_margin)
        for name, value in (*self.weights.items(), ('loss_weight', loss_weight)):
            checks.check_loss_weight(value, f'BadTeacherLoss: {name}')
            if value < 0:
                raise ConfigError(f'BadTeacherLoss: {name} is {value!r}, expected a number ≥ 0.')
        self.k = k
        self.loss_weight = loss_weight

    def forward(self, cls_score: Tensor, target: Tensor, avg_factor: int | None = None, **_: Any) -> Tensor:
        """The loss of logits (N, C) for a target of indices (N,) or probabilities (N, C), a scalar in nats.

        ``avg_factor`` is taken as mmpretrain's heads give it, and is N.

        Raises:
            TypeError, ConfigError: more places than classes, a target of another type or shape. Wrong values (a class
                out of range, rows that are no label with k - 1 companions) are told as those of
                :mod:`wsld_plugin.losses.functional`: on a CUDA device by an assertion that no step waits for.
        """
        n, c = cls_score.shape
        if self.k > c:
            raise ConfigError(f'BadTeacherLoss: k={self.k}, but there are {c} classes: expected 2 … {c}, and the '
                              'same k for wsld_plugin.Companions.')
        target = checks.check_target(target, n, c)
        if target.is_floating_point():
            label, companions = read_companions(target, self.k)
        else:
            checks.check_range(target, c)
            label, companions = target, draw_companions(target, c, self.k - 1)
        return self.loss_weight * bad_teacher(cls_score, label, companions, **self.weights)

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        return ', '.join(f'{name}={value}' for name, value in dict(
            k=self.k, **self.weights, loss_weight=self.loss_weight).items())


def read_companions(target: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Labels (N,) and companions (N, C) bool of the target (N, C) that :class:`BadTeacherLoss` describes."""
    label = target.argmax(1)
    own = _one_hot(label, target.shape[1])
    companions = (target > 0) & ~own
    counts = companions.sum(1)
    expected = 2 * own + companions.float()
    tolerance = max(1e-3, torch.finfo(target.dtype).eps)
    right = ((target.float() * (k + 1) - expected).abs() <= tolerance * expected).all(1)
    checks.require(
        right & (counts == k - 1),
        f'BadTeacherLoss(k={k}) takes {k - 1} companions of {1 / (k + 1):.4g} each and {2 / (k + 1):.4g} for the '
        f'label: give wsld_plugin.Companions k={k}, and leave out what mixes or smooths targets (Mixup, CutMix).',
        companions=counts, largest=target.amax(1), smallest=target.masked_fill(target <= 0, 1.0).amin(1))
    return label, companions


def draw_companions(label: Tensor, num_classes: int, count: int) -> Tensor:
    """``count`` wrong classes for each label (N,), drawn uniformly; (N, C) bool."""
    draws = torch.rand(len(label), num_classes, device=label.device)
    draws.scatter_(1, label[:, None], -1.0)
    return torch.zeros_like(draws, dtype=torch.bool).scatter_(1, draws.topk(count).indices, True)


def _one_hot(label: Tensor, num_classes: int) -> Tensor:
    # that of PyTorch reads the range of the labels from some devices
    return label[:, None] == torch.arange(num_classes, device=label.device)
