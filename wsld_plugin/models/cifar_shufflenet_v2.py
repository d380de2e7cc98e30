"""The two ShuffleNetV2 of the CIFAR-100 tables; mmpretrain's has an ImageNet stem, one width and no biases."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.utils import channel_shuffle
from torch import nn

from wsld_plugin.errors import check_choice
from wsld_plugin.registry import MODELS

from .stages import StagedBackbone, conv_bn

# channels of the stages by width: table 5 of the paper
CHANNELS = {0.5: (48, 96, 192, 1024), 1.0: (116, 232, 464, 1024),
            1.5: (176, 352, 704, 1024), 2.0: (244, 488, 976, 2048)}
BLOCKS = (4, 8, 4)
VARIANTS: dict[str, dict[str, Any]] = dict(
    crd=dict(stem=dict(kernel_size=1, act=nn.ReLU), bias=False, narrow=True),
    tf_kd=dict(stem=dict(kernel_size=3, act=None), bias=True, narrow=False))


class ShuffleUnit(nn.Module):
    """(first half, convolutions of the second half), channels shuffled in two groups.

    Where channels or size change both halves are convolutions of the whole input. Their hidden width is then
    half of the output's if ``narrow``, else the input's.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, bias: bool, narrow: bool) -> None:
        super().__init__()
        half = out_channels // 2
        self.first = None
        before = hidden = half
        if stride == 2:
            before, hidden = in_channels, half if narrow else in_channels
            self.first = nn.Sequential(
                conv_bn(before, before, 3, stride=stride, groups=before, bias=bias, act=None),
                conv_bn(before, half, bias=bias))
        self.second = nn.Sequential(
            conv_bn(before, hidden, bias=bias),
            conv_bn(hidden, hidden, 3, stride=stride, groups=hidden, bias=bias, act=None),
            conv_bn(hidden, half, bias=bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (N, C, H, W) to (N, C', H / stride, W / stride)."""
        if self.first is None:
            first, second = x.chunk(2, dim=1)
        else:
            first, second = self.first(x), x
        return channel_shuffle(torch.cat([first, self.second(second)], 1), 2)


@MODELS.register_module()
class CifarShuffleNetV2(StagedBackbone):
    """A stem of 24 channels, three stages of 4, 8 and 4 units and a 1×1 convolution.

    From images (N, 3, 32, 32) the four stages return 16, 8, 4 and 4 pixels a side, at width 1 with 116, 232, 464
    and 1024 channels.

    ========= ========================== ============ ==================================================
    variant   stem, of stride 1          convolutions hidden width of a stage's first unit
    ========= ========================== ============ ==================================================
    ``crd``   1×1, BatchNorm, ReLU       no biases    half of its output's
    ``tf_kd`` 3×3, BatchNorm, no ReLU    biases       its input's
    ========= ========================== ============ ==================================================

    Args:
        widen_factor: .5, 1, 1.5 or 2.
        variant: ``'crd'``, of Tian et al., or ``'tf_kd'``, of Yuan et al.
        out_indices: which stages to return, 0 to 3.
        in_channels: of the images.
        init_cfg: as for any mmengine module; None, PyTorch's own, is both sources'.

    Raises:
        ConfigError: a width, variant or stage that does not exist.

    Source: Ma et al., ShuffleNet V2, arXiv 1807.11164, in the forms that Tian et al., Contrastive Representation
    Distillation, arXiv 1910.10699, and Yuan et al., Teacher-free Knowledge Distillation, arXiv 1909.11723,
    compare. At width 2 the code of the former starts with 224 channels; here and in the paper it is 244.
    """

    def __init__(self,
                 widen_factor: float = 1.0,
                 variant: str = 'crd',
                 out_indices: Sequence[int] = (3,),
                 in_channels: int = 3,
                 init_cfg: dict | Sequence[dict] | None = None) -> None:
        check_choice('widen_factor', widen_factor, CHANNELS)
        check_choice('variant', variant, VARIANTS)
        form = VARIANTS[variant]
        parts = dict(bias=form['bias'], narrow=form['narrow'])
        *widths, last = CHANNELS[widen_factor]
        stages, before = [], 24
        for width, blocks in zip(widths, BLOCKS, strict=True):
            stages.append(nn.Sequential(ShuffleUnit(before, width, 2, **parts), *(
                ShuffleUnit(width, width, 1, **parts) for _ in range(blocks - 1))))
            before = width
        stages.append(conv_bn(before, last, bias=form['bias']))
        super().__init__(conv_bn(in_channels, 24, bias=form['bias'], **form['stem']), stages, out_indices, init_cfg)
