"""A teacher without a network: soft labels made from the labels."""
from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from wsld_plugin.errors import ConfigError, check_choice, did_you_mean
from wsld_plugin.losses.checks import check_range, check_target
from wsld_plugin.registry import MODELS

LOGITS = ('log_prob', 'prob')


@MODELS.register_module()
class VirtualTeacher(BaseModel):
    """The hand-designed teacher of Tf-KD_reg; a uniform one gives label smoothing.

    ::

        p[k] = a if k = y else (1 - a)/(C - 1)
        logits = log p   ('log_prob': tempered they are p^(1/τ), renormalised)
        logits = p       ('prob': tempered they are softmax(p/τ), almost uniform for any τ ≥ 1)

    For a target of probabilities (N, C), as Mixup and CutMix give it, p is the mixture ``Σ_k y[k] p^(k)``. It has
    no weights (``teacher_ckpt=False``), looks at no pixel, waits for no device, and is not validated, because
    it reads the labels.

    Args:
        num_classes: C ≥ 2, the student's.
        correct_prob: a, between 0 and 1, or ``'uniform'`` for 1/C.
        logits: ``'log_prob'`` as in the paper, or ``'prob'`` as in the authors' code.
        data_preprocessor: taken as every teacher takes one, and not used.
        init_cfg: as for any mmengine model.

    Raises:
        ConfigError: a setting that makes no sense.

    Source: Yuan et al., Revisiting Knowledge Distillation via Label Smoothing Regularization, CVPR 2020, arXiv
    1909.11723, who use a ≥ 0.9 and class indices only.

    >>> teacher = VirtualTeacher(num_classes=3, correct_prob=0.8, logits='prob')
    >>> teacher(torch.zeros(1, 3, 8, 8), [DataSample().set_gt_label(2)])
    tensor([[0.1000, 0.1000, 0.8000]])
    """

    reads_labels = True
    made_from_labels = True  # of them alone: the soft labels tell nothing about an image
    sees_images = False
    no_checkpoint = 'a VirtualTeacher has no weights'

    def __init__(self, num_classes: int | None = None, correct_prob: float | str = 0.99, logits: str = 'log_prob',
                 data_preprocessor: Any = None, init_cfg: dict | None = None) -> None:
        if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
            raise ConfigError(f'VirtualTeacher: num_classes is {num_classes!r}, but the number of the student\'s '
                              'classes is expected, 2 or more: write teacher=dict(num_classes=100).')
        check_choice('VirtualTeacher: logits', logits, LOGITS)
        super().__init__(init_cfg=init_cfg)
        self.head = _SoftLabels(num_classes, _probability(correct_prob, num_classes), logits == 'log_prob')

    def forward(self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None,
                mode: str = 'tensor') -> Tensor:
        """The logits (N, C), float32 at least.

        Args:
            inputs: N images; only their number is looked at.
            data_samples: N samples with ``gt_score`` (C,), or else one ``gt_label``, as mmpretrain's heads read.
            mode: ``'tensor'``.

        Raises:
            ValueError, TypeError: samples without a target, or with one that does not fit C classes. On a CUDA
                device a label out of range fails an assertion that no step waits for.
            NotImplementedError: another mode.
        """
        if mode != 'tensor':
            raise NotImplementedError(f'mode={mode!r}: a VirtualTeacher gives its soft labels with '
                                      "mode='tensor' and nothing else; it predicts nothing and learns nothing.")
        target = _target(data_samples)
        return self.head(check_target(target, len(inputs), self.head.num_classes))


class _SoftLabels(nn.Module):
    """Targets (N,) or (N, C) to logits (N, C): a module of its own, so that it can be recorded."""

    def __init__(self, num_classes: int, correct_prob: float, log: bool) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.correct_prob = correct_prob
        self.wrong_prob = (1 - correct_prob) / (num_classes - 1)
        self.log = log

    def forward(self, target: Tensor) -> Tensor:
        if target.is_floating_point():
            target = target.to(torch.promote_types(target.dtype, torch.float32))
            prob = self.wrong_prob + target * (self.correct_prob - self.wrong_prob)
            return prob.log() if self.log else prob
        check_range(target, self.num_classes)
        right, wrong = self.correct_prob, self.wrong_prob
        if self.log:
            right, wrong = math.log(right), math.log(wrong)
        classes = torch.arange(self.num_classes, device=target.device)
        return torch.where(target[:, None] == classes, right, wrong)

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        return f'num_classes={self.num_classes}, correct_prob={self.correct_prob}, log={self.log}'


def _probability(correct_prob: float | str, num_classes: int) -> float:
    if correct_prob == 'uniform':
        return 1 / num_classes
    if isinstance(correct_prob, bool) or not isinstance(correct_prob, Real) or not 0 < correct_prob < 1:
        raise ConfigError(f'VirtualTeacher: correct_prob is {correct_prob!r}, but a probability between 0 and 1, '
                          f'such as 0.99, or \'uniform\' is expected.{did_you_mean(str(correct_prob), ["uniform"])}')
    return float(correct_prob)


def _target(data_samples: Sequence[DataSample] | None) -> Tensor:
    """As mmpretrain's ``ClsHead`` reads it."""
    name = 'gt_score' if data_samples and 'gt_score' in data_samples[0] else 'gt_label'
    if not data_samples or not all(name in sample for sample in data_samples):
        raise ValueError('A VirtualTeacher reads labels, but was given '
                         + (f'data samples without {name}' if data_samples else 'no data samples')
                         + ': it can only teach on labelled images.')
    targets = [sample.get(name) for sample in data_samples]
    return torch.stack(targets) if name == 'gt_score' else torch.cat(targets)
