"""Teachers without a network: the soft label is computed from the label, or comes with the sample."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from wsld_plugin.errors import ConfigError, check_choice, check_integer, check_number, did_you_mean
from wsld_plugin.losses.checks import check_range, check_target
from wsld_plugin.losses.functional import one_hot
from wsld_plugin.registry import MODELS


class TeacherFromLabels(BaseModel):
    """Base class of the teachers that read no pixel and have no weights.

    A subclass defines :meth:`soft_labels`. The output of the module ``head`` is recorded.
    """

    head: Any
    reads_labels = True  # its accuracy is meaningless
    made_from_labels = False  # True: from the label alone; the soft labels hold nothing about the image
    sees_images = False

    def __init__(self, head: nn.Module, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.head = head
        self.no_checkpoint = f'a {type(self).__name__} has no weights'

    def soft_labels(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> Any:
        """The input of ``head`` for N images and their samples."""
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

    For a target of probabilities (N, C), from Mixup or CutMix, p is the mixture ``Σ_k y[k] p^(k)``. The teacher has
    no weights (``teacher_ckpt=False``), reads no pixel, does not synchronise the device, and is not validated,
    because it reads the labels: ``gt_score`` (C,), or else one ``gt_label``, as mmpretrain's heads do.

    Args:
        num_classes: C ≥ 2, the student's.
        correct_prob: a in (0, 1), or ``'uniform'`` for 1/C.
        logits: ``'log_prob'`` as in the paper, or ``'prob'`` as in the authors' code.
        data_preprocessor: not used; accepted because each teacher may have one.
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
        head = _Logits('VirtualTeacher', num_classes)
        if isinstance(correct_prob, str):
            check_choice('VirtualTeacher: correct_prob', correct_prob, ['uniform'])
            correct_prob = 1 / head.num_classes
        check_number('VirtualTeacher: correct_prob', correct_prob, 0, 1, inclusive=False)
        check_choice('VirtualTeacher: logits', logits, ('log_prob', 'prob'))
        super().__init__(head, init_cfg)
        self.correct_prob, self.log = float(correct_prob), logits == 'log_prob'

    def soft_labels(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> Tensor:
        """The logits (N, C), float32, or float64 if the images or the target are."""
        name = 'gt_score' if data_samples and 'gt_score' in data_samples[0] else 'gt_label'
        if not data_samples or not all(name in sample for sample in data_samples):
            given = f'data samples without {name}' if data_samples else 'no data samples'
            raise ValueError(f'VirtualTeacher: {given}, expected labelled images.')
        targets = [sample.get(name) for sample in data_samples]
        n, c = len(inputs), self.head.num_classes
        target = check_target(torch.stack(targets) if name == 'gt_score' else torch.cat(targets), n, c)
        right, wrong = self.correct_prob, (1 - self.correct_prob) / (c - 1)
        dtype = torch.promote_types(inputs.dtype, torch.float32)
        if target.is_floating_point():
            prob = wrong + target.to(torch.promote_types(target.dtype, dtype)) * (right - wrong)
            return prob.log() if self.log else prob
        check_range(target, c)
        if self.log:
            right, wrong = math.log(right), math.log(wrong)
        return torch.full((n, c), wrong, dtype=dtype, device=target.device).masked_fill(one_hot(target, c), right)


@MODELS.register_module()
class GivenTeacher(TeacherFromLabels):
    """Logits of the soft label d that each sample carries, such as a candidate set of `PartialLabels`.

    ::

        logits = log max(d, floor)

    The floor keeps classes of probability 0 finite: at temperature 1 each of them has a probability of about
    ``floor``, at temperature τ of about floor^(1/τ), so τ = 1 is recommended. With ``hard_weight=0`` the student
    learns from soft labels alone. The teacher has no weights (``teacher_ckpt=False``), reads no pixel and is not
    validated. Mixed images (Mixup, CutMix) are rejected: no soft label was given for them.

    Args:
        num_classes: C ≥ 2, the student's.
        field: the field of the data sample that holds d: (C,) probabilities.
        floor: in (0, 1/C).
        data_preprocessor, init_cfg: as for `VirtualTeacher`.

    >>> sample = DataSample(soft_label=torch.tensor([0.5, 0.0, 0.5]))
    >>> GivenTeacher(num_classes=3, floor=1e-4)(torch.zeros(1, 3, 8, 8), [sample])
    tensor([[-0.6931, -9.2103, -0.6931]])
    """

    def __init__(self, num_classes: int | None = None, field: str = 'soft_label', floor: float = 1e-6,
                 data_preprocessor: Any = None, init_cfg: dict | None = None) -> None:
        head = _Logits('GivenTeacher', num_classes)
        check_number('GivenTeacher: floor', floor, 0, 1 / head.num_classes, inclusive=False)
        super().__init__(head, init_cfg)
        self.field, self.floor = field, float(floor)

    def soft_labels(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> Tensor:
        """The logits (N, C), float32 at least."""
        if not data_samples:
            raise ConfigError('GivenTeacher: no data samples, expected samples that carry soft labels.')
        for fields in (sorted(sample.keys()) for sample in data_samples if self.field not in sample):
            hint = did_you_mean(self.field, (name for name in fields if name != 'gt_label'))
            raise ConfigError(f'GivenTeacher: data samples without {self.field!r}, with '
                              f'{", ".join(fields) or "no field"} alone.{hint} A data set such as '
                              "wsld_plugin.PartialLabels sets 'soft_label'; for a field of your own write "
                              'teacher=dict(field=…).')
        if 'gt_score' in data_samples[0]:
            raise ConfigError('GivenTeacher: samples with a gt_score, as Mixup and CutMix make them, have no soft '
                              'label. Remove batch_augments from the data preprocessor.')
        soft_label = check_target(torch.stack([sample.get(self.field) for sample in data_samples]), len(inputs),
                                  self.head.num_classes)
        return soft_label.to(torch.promote_types(soft_label.dtype, torch.float32)).clamp(min=self.floor).log()


class _Logits(nn.Identity):
    """Passes the logits (N, C) on; a module, so that they can be recorded."""

    def __init__(self, kind: str, num_classes: int | None) -> None:
        super().__init__()
        if num_classes is None:
            raise ConfigError(f"{kind}: num_classes is None, expected the number of the student's classes: write "
                              'teacher=dict(num_classes=100).')
        check_integer(f'{kind}: num_classes', num_classes, 2)
        self.num_classes = num_classes
