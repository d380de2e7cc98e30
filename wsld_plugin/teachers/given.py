"""A teacher without a network: the soft label comes with the sample."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.losses.checks import check_target
from wsld_plugin.registry import MODELS


@MODELS.register_module()
class GivenTeacher(BaseModel):
    """Gives each sample the soft label d that it carries, such as the candidate set of a `PartialLabels`.

    ::

        logits = log max(d, floor)

    The floor keeps classes of probability 0 finite: at temperature 1 each of them has a probability of about
    ``floor``, at temperature τ of about floor^(1/τ), so that τ = 1 suits it. With ``hard_weight=0`` the student
    learns from soft labels alone. It has no weights (``teacher_ckpt=False``), looks at no pixel and is not validated.
    It does not teach mixed images (Mixup, CutMix), for which nothing was given.

    Args:
        num_classes: C ≥ 2, the student's.
        field: of the data sample, that holds d: (C,) probabilities.
        floor: between 0 and 1/C.
        data_preprocessor: taken as every teacher takes one, and not used.
        init_cfg: as for any mmengine model.

    Raises:
        ConfigError: a setting that makes no sense.

    >>> sample = DataSample(soft_label=torch.tensor([0.5, 0.0, 0.5]))
    >>> GivenTeacher(num_classes=3, floor=1e-4)(torch.zeros(1, 3, 8, 8), [sample])
    tensor([[-0.6931, -9.2103, -0.6931]])
    """

    reads_labels = True  # what came with the sample: there is nothing to validate
    sees_images = False
    no_checkpoint = 'a GivenTeacher has no weights'

    def __init__(self, num_classes: int | None = None, field: str = 'soft_label', floor: float = 1e-6,
                 data_preprocessor: Any = None, init_cfg: dict | None = None) -> None:
        if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
            raise ConfigError(f'GivenTeacher: num_classes is {num_classes!r}, but the number of the student\'s '
                              'classes is expected, 2 or more: write teacher=dict(num_classes=100).')
        if isinstance(floor, bool) or not isinstance(floor, (int, float)) or not 0 < floor < 1 / num_classes:
            raise ConfigError(f'GivenTeacher: floor is {floor!r}, but a probability between 0 and '
                              f'1/{num_classes} is expected, such as 1e-6.')
        super().__init__(init_cfg=init_cfg)
        self.field = field
        self.head = _LogProbabilities(num_classes, float(floor))

    def forward(self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None,
                mode: str = 'tensor') -> Tensor:
        """The logits (N, C), float32 at least.

        Args:
            inputs: N images; only their number is looked at.
            data_samples: N samples with the field.
            mode: ``'tensor'``.

        Raises:
            ConfigError, TypeError: samples without the field, mixed ones, or a field that is no distribution over C
                classes.
            NotImplementedError: another mode.
        """
        if mode != 'tensor':
            raise NotImplementedError(f"mode={mode!r}: a GivenTeacher gives its soft labels with mode='tensor' and "
                                      'nothing else; it predicts nothing and learns nothing.')
        if not data_samples:
            raise ConfigError('A GivenTeacher was given no data samples, which carry its soft labels.')
        for sample in data_samples:
            if self.field not in sample:
                fields = sorted(sample.keys())
                hint = did_you_mean(self.field, (name for name in fields if name != 'gt_label'))  # no distribution
                raise ConfigError(f'A GivenTeacher was given data samples without {self.field!r}, with '
                                  f'{", ".join(fields) or "no field"} alone.{hint} A data set such as '
                                  "wsld_plugin.PartialLabels sets 'soft_label'; for a field of your own write "
                                  'teacher=dict(field=…).')
        if 'gt_score' in data_samples[0]:
            raise ConfigError('A GivenTeacher was given samples with a gt_score, as Mixup and CutMix make them: it '
                              'has no soft labels of mixed images. Take batch_augments out of the data preprocessor.')
        soft_label = torch.stack([sample.get(self.field) for sample in data_samples])
        return self.head(check_target(soft_label, len(inputs), self.head.num_classes))


class _LogProbabilities(nn.Module):
    """Soft labels (N, C) to logits (N, C): a module of its own, so that it can be recorded."""

    def __init__(self, num_classes: int, floor: float) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.floor = floor

    def forward(self, soft_label: Tensor) -> Tensor:
        return soft_label.to(torch.promote_types(soft_label.dtype, torch.float32)).clamp(min=self.floor).log()

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        return f'num_classes={self.num_classes}, floor={self.floor}'
