"""The ShuffleNetV1 of the CIFAR-100 tables; mmpretrain's has other widths, activations and an ImageNet stem."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpretrain.models.utils import channel_shuffle
from torch import nn
from torch.nn import functional as F

from wsld_plugin.registry import MODELS

from .stages import StagedBackbone, conv_bn

GROUPS = 3
WIDTHS = (24, 240, 480, 960)  # the stem and the stages
BLOCKS = (4, 8, 4)


class ShuffleUnit(nn.Module):
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
        out_indices: which stages to return, 0 to 2.
        in_channels: of the images.
        init_cfg: as for any mmengine module; None, PyTorch's own, is the source's.

    Raises:
        ConfigError: a stage that does not exist.

    Source: Zhang et al., ShuffleNet, arXiv 1707.01083, in the form that Tian et al., Contrastive Representation
    Distillation, arXiv 1910.10699, compare. As there and unlike the paper: the stem is 1×1 and keeps the size;
    ReLU follows the depthwise convolution too; the hidden width at stride 2 is a quarter of the *new*
    channels; and the first unit, whose first convolution is not grouped, does not shuffle.
    """

    def __init__(self, out_indices: Sequence[int] = (2,), in_channels: int = 3,
                 init_cfg: dict | Sequence[dict] | None = None) -> None:
        stages = []
        for i, blocks in enumerate(BLOCKS):
            before, width = WIDTHS[i:i + 2]
            stages.append(nn.Sequential(ShuffleUnit(before, width, 2, GROUPS if i else 1), *(
                ShuffleUnit(width, width, 1, GROUPS) for _ in range(blocks - 1))))
        super().__init__(conv_bn(in_channels, WIDTHS[0]), stages, out_indices, init_cfg)
