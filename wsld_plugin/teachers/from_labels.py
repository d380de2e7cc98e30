"""Teachers without a network: the soft label follows from the label, or comes with the sample."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.nn import functional

from wsld_plugin.errors import ConfigError, check_choice, check_integer, check_number, did_you_mean
from wsld_plugin.losses.checks import check_range, check_target
from wsld_plugin.registry import MODELS

LOGITS = ('log_prob', 'prob')


class TeacherFromLabels(BaseModel):
    """Base class of the teachers that read no pixel and have no weights.

    A subclass defines :meth:`soft_labels`, whose result the module ``head``, which can be recorded, maps to logits.
    """

    head: Any
    reads_labels = True  # so that its accuracy is meaningless
    made_from_labels = False  # True: of the label alone, so that the soft labels say nothing about the image
    sees_images = False

    def __init__(self, head: nn.Module, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.head = head
        self.no_checkpoint = f'a {type(self).__name__} has no weights'

    def soft_labels(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> Any:
        """What ``head`` is given for N images and their samples."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None,
                mode: str = 'tensor') -> Tensor:
        """The logits (N, C), float32 or float64, for N images and their samples.

        Raises:
            ValueError, TypeError: samples without what the teacher reads, or whose values do not fit.
            NotImplementedError: a mode other than ``'tensor'``.
        """
        if mode != 'tensor':
            raise NotImplementedError(f"mode={mode!r}: a {type(self).__name__} supports mode='tensor' only.")
        return self.head(self.soft_labels(inputs, data_samples))


@MODELS.register_module()
class VirtualTeacher(TeacherFromLabels):
    """The hand-designed teacher of Tf-KD_reg; a uniform one gives label smoothing.

    ::

        p[k] = a if k = y else (1 - a)/(C - 1)
        logits = log p   ('log_prob': tempered they are p^(1/τ), renormalised)
        logits = p       ('prob': tempered they are softmax(p/τ), almost uniform for any τ ≥ 1)

    For a target of probabilities (N, C), as Mixup and CutMix give it, p is the mixture ``Σ_k y[k] p^(k)``. It has
    no weights (``teacher_ckpt=False``), reads no pixel, does not synchronise the device, and is not validated,
    because it reads the labels: ``gt_score`` (C,), or else one ``gt_label``, as mmpretrain's heads do.

    Args:
        num_classes: C ≥ 2, the student's.
        correct_prob: a in (0, 1), or ``'uniform'`` for 1/C.
        logits: ``'log_prob'`` as in the paper, or ``'prob'`` as in the authors' code.
        data_preprocessor: accepted as by every teacher, and not used.
        init_cfg: as for any mmengine model.

    Raises:
        ConfigError: an invalid argument. On a CUDA device a label out of range fails an asynchronous assertion.

    Source: Yuan et al., Revisiting Knowledge Distillation via Label Smoothing Regularization, CVPR 2020, arXiv
    1909.11723, who use a ≥ 0.9 and class indices only.

    >>> teacher = VirtualTeacher(num_classes=3, correct_prob=0.8, logits='prob')
    >>> teacher(torch.zeros(1, 3, 8, 8), [DataSample().set_gt_label(2)])
    tensor([[0.1000, 0.1000, 0.8000]])
    """

    made_from_labels = True

    def __init__(self, num_classes: int | None = None, correct_prob: float | str = 0.99, logits: str = 'log_prob',
                 data_preprocessor: Any = None, init_cfg: dict | None = None) -> None:
        num_classes = _checked('VirtualTeacher', num_classes)
        if isinstance(correct_prob, str):
            check_choice('VirtualTeacher: correct_prob', correct_prob, ['uniform'])
            correct_prob = 1 / num_classes
        check_number('VirtualTeacher: correct_prob', correct_prob, 0, 1, inclusive=False)
        check_choice('VirtualTeacher: logits', logits, LOGITS)
        super().__init__(_OneHot(num_classes, float(correct_prob), logits == 'log_prob'), init_cfg)

    def soft_labels(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> Tensor:
        """The target (N,) or (N, C); for float64 images (N, C) in float64."""
        name = 'gt_score' if data_samples and 'gt_score' in data_samples[0] else 'gt_label'
        if not data_samples or not all(name in sample for sample in data_samples):
            given = f'data samples without {name}' if data_samples else 'no data samples'
            raise ValueError(f'VirtualTeacher: {given}, expected labelled images.')
        targets = [sample.get(name) for sample in data_samples]
        target = check_target(torch.stack(targets) if name == 'gt_score' else torch.cat(targets), len(inputs),
                              self.head.num_classes)
        if inputs.dtype != torch.float64:
            return target
        return (target if target.is_floating_point() else functional.one_hot(target, self.head.num_classes)).double()


@MODELS.register_module()
class GivenTeacher(TeacherFromLabels):
    """Gives each sample the soft label d that it carries, such as the candidate set of a `PartialLabels`.

    ::

        logits = log max(d, floor)

    The floor keeps classes of probability 0 finite: at temperature 1 each of them has a probability of about
    ``floor``, at temperature τ of about floor^(1/τ), so τ = 1 is recommended. With ``hard_weight=0`` the student
    learns from soft labels alone. It has no weights (``teacher_ckpt=False``), reads no pixel and is not validated.
    Mixed images (Mixup, CutMix) are rejected: no soft label was given for them.

    Args:
        num_classes: C ≥ 2, the student's.
        field: the field of the data sample that holds d: (C,) probabilities.
        floor: in (0, 1/C).
        data_preprocessor: accepted as by every teacher, and not used.
        init_cfg: as for any mmengine model.

    Raises:
        ConfigError: an invalid argument.

    >>> sample = DataSample(soft_label=torch.tensor([0.5, 0.0, 0.5]))
    >>> GivenTeacher(num_classes=3, floor=1e-4)(torch.zeros(1, 3, 8, 8), [sample])
    tensor([[-0.6931, -9.2103, -0.6931]])
    """

    def __init__(self, num_classes: int | None = None, field: str = 'soft_label', floor: float = 1e-6,
                 data_preprocessor: Any = None, init_cfg: dict | None = None) -> None:
        num_classes = _checked('GivenTeacher', num_classes)
        check_number('GivenTeacher: floor', floor, 0, 1 / num_classes, inclusive=False)
        super().__init__(_LogProbabilities(num_classes, float(floor)), init_cfg)
        self.field = field

    def soft_labels(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> Tensor:
        """The soft labels (N, C)."""
        if not data_samples:
            raise ConfigError('GivenTeacher: no data samples, expected samples that carry soft labels.')
        for sample in data_samples:
            if self.field not in sample:
                fields = sorted(sample.keys())
                hint = did_you_mean(self.field, (name for name in fields if name != 'gt_label'))
                raise ConfigError(f'GivenTeacher: data samples without {self.field!r}, with '
                                  f'{", ".join(fields) or "no field"} alone.{hint} A data set such as '
                                  "wsld_plugin.PartialLabels sets 'soft_label'; for a field of your own write "
                                  'teacher=dict(field=…).')
        if 'gt_score' in data_samples[0]:
            raise ConfigError('GivenTeacher: samples with a gt_score, as Mixup and CutMix make them, have no soft '
                              'label. Remove batch_augments from the data preprocessor.')
        soft_label = torch.stack([sample.get(self.field) for sample in data_samples])
        return check_target(soft_label, len(inputs), self.head.num_classes)


def _checked(kind: str, num_classes: int | None) -> int:
    if num_classes is None:
        raise ConfigError(f"{kind}: num_classes is None, expected the number of the student's classes: write "
                          'teacher=dict(num_classes=100).')
    check_integer(f'{kind}: num_classes', num_classes, 2)
    return num_classes


class _OneHot(nn.Module):
    """Targets (N,) or (N, C) to logits (N, C)."""

    def __init__(self, num_classes: int, correct_prob: float, log: bool) -> None:
        super().__init__()
        self.num_classes, self.correct_prob, self.log = num_classes, correct_prob, log
        self.wrong_prob = (1 - correct_prob) / (num_classes - 1)

    def forward(self, target: Tensor) -> Tensor:
        if target.is_floating_point():
            target = target.to(torch.promote_types(target.dtype, torch.float32))
            prob = self.wrong_prob + target * (self.correct_prob - self.wrong_prob)
            return prob.log() if self.log else prob
        check_range(target, self.num_classes)
        right, wrong = (math.log(p) if self.log else p for p in (self.correct_prob, self.wrong_prob))
        classes = torch.arange(self.num_classes, device=target.device)
        return torch.where(target[:, None] == classes, right, wrong)


class _LogProbabilities(nn.Module):
    """Soft labels (N, C) to logits (N, C)."""

    def __init__(self, num_classes: int, floor: float) -> None:
        super().__init__()
        self.num_classes, self.floor = num_classes, floor

    def forward(self, soft_label: Tensor) -> Tensor:
        return soft_label.to(torch.promote_types(soft_label.dtype, torch.float32)).clamp(min=self.floor).log()
