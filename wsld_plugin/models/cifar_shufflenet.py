"""The ShuffleNets of the CIFAR-100 tables; mmpretrain's have other widths, an ImageNet stem and no biases."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.utils import channel_shuffle
from torch import nn
from torch.nn import functional as F

from wsld_plugin.errors import check_choice
from wsld_plugin.registry import MODELS

from .stages import Init, StagedBackbone, conv_bn

BLOCKS = (4, 8, 4)  # of the stages
# ShuffleNetV1: groups, and channels of the stem and the stages
GROUPS = 3
WIDTHS = (24, 240, 480, 960)


class ShuffleUnitV1(nn.Module):
    """1×1 grouped, shuffle, 3×3 depthwise, 1×1 grouped; joined with the input by a sum or, at stride 2, appended.

    At stride 2 the output is (convolutions, average-pooled input), in this order.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, first_groups: int) -> None:
        super().__init__()
        new_channels = out_channels - in_channels if stride == 2 else out_channels
        hidden = new_channels // 4
        self.stride = stride
        self.first_groups = first_groups
        self.compress = conv_bn(in_channels, hidden, groups=first_groups)
        self.depthwise = conv_bn(hidden, hidden, 3, stride=stride, groups=hidden)
        self.expand = conv_bn(hidden, new_channels, groups=GROUPS, act=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (N, C, H, W) to (N, C', H / stride, W / stride)."""
        new = channel_shuffle(self.compress(x), self.first_groups)
        new = self.expand(self.depthwise(new))
        if self.stride == 2:
            return F.relu(torch.cat([new, F.avg_pool2d(x, 3, 2, 1)], 1))
        return F.relu(new + x)


@MODELS.register_module()
class CifarShuffleNetV1(StagedBackbone):
    """ShuffleNetV1 with 3 groups: a 1×1 convolution of 24 channels and three stages of 4, 8 and 4 units.

    From images (N, 3, 32, 32) the stages return 16, 8 and 4 pixels a side with 240, 480 and 960 channels.

    Args:
        out_indices, in_channels, init_cfg: as of `StagedBackbone`; by default PyTorch's weights, as in the source.

    Source: Zhang et al., ShuffleNet, arXiv 1707.01083, in the form that Tian et al., Contrastive Representation
    Distillation, arXiv 1910.10699, compare. As there and unlike the paper: the stem is 1×1 and keeps the size;
    ReLU follows the depthwise convolution too; the hidden width at stride 2 is a quarter of the *new*
    channels; and the first unit, whose first convolution is not grouped, does not shuffle.
    """

    def __init__(self, out_indices: Sequence[int] = (2,), in_channels: int = 3, init_cfg: Init = None) -> None:
        stages = []
        for i, blocks in enumerate(BLOCKS):
            before, width = WIDTHS[i:i + 2]
            stages.append(nn.Sequential(ShuffleUnitV1(before, width, 2, GROUPS if i else 1), *(
                ShuffleUnitV1(width, width, 1, GROUPS) for _ in range(blocks - 1))))
        super().__init__(conv_bn(in_channels, WIDTHS[0]), stages, out_indices, init_cfg)


# ShuffleNetV2: channels of the stages by width, table 5 of the paper
CHANNELS = {0.5: (48, 96, 192, 1024), 1.0: (116, 232, 464, 1024),
            1.5: (176, 352, 704, 1024), 2.0: (244, 488, 976, 2048)}
VARIANTS: dict[str, dict[str, Any]] = dict(
    crd=dict(stem=dict(kernel_size=1, act=nn.ReLU), bias=False, narrow=True),
    tf_kd=dict(stem=dict(kernel_size=3, act=None), bias=True, narrow=False))


class ShuffleUnitV2(nn.Module):
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
        out_indices, in_channels, init_cfg: as of `StagedBackbone`; by default PyTorch's weights, as in both sources.

    Source: Ma et al., ShuffleNet V2, arXiv 1807.11164, in the forms that Tian et al., Contrastive Representation
    Distillation, arXiv 1910.10699, and Yuan et al., Teacher-free Knowledge Distillation, arXiv 1909.11723,
    compare. At width 2 the code of the former starts with 224 channels; here and in the paper it is 244.
    """

    def __init__(self, widen_factor: float = 1.0, variant: str = 'crd', out_indices: Sequence[int] = (3,),
                 in_channels: int = 3, init_cfg: Init = None) -> None:
        check_choice('widen_factor', widen_factor, CHANNELS)
        check_choice('variant', variant, VARIANTS)
        form = VARIANTS[variant]
        parts = dict(bias=form['bias'], narrow=form['narrow'])
        *widths, last = CHANNELS[widen_factor]
        stages, before = [], 24
        for width, blocks in zip(widths, BLOCKS, strict=True):
            stages.append(nn.Sequential(ShuffleUnitV2(before, width, 2, **parts), *(
                ShuffleUnitV2(width, width, 1, **parts) for _ in range(blocks - 1))))
            before = width
        stages.append(conv_bn(before, last, bias=form['bias']))
        super().__init__(conv_bn(in_channels, 24, bias=form['bias'], **form['stem']), stages, out_indices, init_cfg)
