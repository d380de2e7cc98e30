"""Wide residual networks, not in mmpretrain: the WRN-d-k of the CIFAR-100 tables."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from wsld_plugin.errors import ConfigError, check_integer
from wsld_plugin.registry import MODELS

from .stages import KAIMING, StagedBackbone, blocks_per_stage


class PreActBlock(nn.Module):
    """BatchNorm and ReLU before each of two 3×3 convolutions, and a shortcut around them.

    The shortcut is the input itself, or a 1×1 convolution of the *activated* input where the width changes.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, drop_rate: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(drop_rate)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (N, C, H, W) to (N, C', H / stride, W / stride)."""
        active = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        active = F.relu(self.norm2(self.conv1(active)))
        return shortcut + self.conv2(self.dropout(active))


@MODELS.register_module()
class WideResNet(StagedBackbone):
    """WRN-depth-widen_factor: a 3×3 convolution of 16 channels and three stages of n blocks, n = (depth − 4) / 6.

    From images (N, 3, 32, 32) the stages return 32, 16 and 8 pixels a side with 16k, 32k and 64k channels,
    k = ``widen_factor``. Stages 0 and 1 are returned before, stage 2 after its BatchNorm and ReLU.

    Args:
        depth: 6n + 4: 10, 16, …, 40.
        widen_factor: k, an integer ≥ 1.
        drop_rate: of the dropout between the two convolutions of a block, in [0, 1); the tables use none.
        out_indices: which stages to return, 0 to 2.
        in_channels: of the images.
        init_cfg: as for any mmengine module; Kaiming's, as in the source.

    Raises:
        ConfigError: another depth or width, a rate outside [0, 1), a stage that does not exist.

    Source: Zagoruyko and Komodakis, Wide Residual Networks, arXiv 1605.07146, in the form that Tian et al.,
    Contrastive Representation Distillation, arXiv 1910.10699, compare.
    """

    def __init__(self,
                 depth: int,
                 widen_factor: int = 1,
                 drop_rate: float = 0.,
                 out_indices: Sequence[int] = (2,),
                 in_channels: int = 3,
                 init_cfg: dict | Sequence[dict] | None = KAIMING) -> None:
        blocks = blocks_per_stage(depth, 6, 4)
        check_integer('widen_factor', widen_factor, 1)
        if not 0 <= drop_rate < 1:
            raise ConfigError(f'drop_rate={drop_rate!r}, expected a probability in [0, 1).')
        widths = [16, *(channels * widen_factor for channels in (16, 32, 64))]
        stages = [nn.Sequential(*(
            PreActBlock(widths[i + (block > 0)], widths[i + 1], stride if block == 0 else 1, drop_rate)
            for block in range(blocks))) for i, stride in enumerate((1, 2, 2))]
        stages[-1].extend([nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)])
        super().__init__(nn.Conv2d(in_channels, 16, 3, padding=1, bias=False), stages, out_indices, init_cfg)
