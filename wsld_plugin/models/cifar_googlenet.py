"""GoogLeNet for images of 32 pixels. mmpretrain has none."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import MODELS

from .stages import Init, StagedBackbone, conv_bn

# channels of 1×1; of 3×3 and of its reduction before it; of 5×5 likewise; of the pooled: table 1 of the paper
STAGES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    ((192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
     (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128)),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)))


class Inception(nn.Module):
    """Four branches side by side: 1×1; 1×1, 3×3; 1×1, 3×3, 3×3; 3×3 max-pooling, 1×1."""

    def __init__(self, in_channels: int, one: int, reduce3: int, three: int, reduce5: int, five: int,
                 pooled: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([
            conv_bn(in_channels, one, bias=True),
            nn.Sequential(conv_bn(in_channels, reduce3, bias=True), conv_bn(reduce3, three, 3, bias=True)),
            nn.Sequential(conv_bn(in_channels, reduce5, bias=True),
                          # eps=five as in the source, which passes the channels as eps
                          conv_bn(reduce5, five, 3, bias=True, eps=five),
                          conv_bn(five, five, 3, bias=True)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_bn(in_channels, pooled, bias=True))])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (N, C, H, W) to (N, C', H, W)."""
        return torch.cat([branch(x) for branch in self.branches], 1)


@MODELS.register_module()
class CifarGoogLeNet(StagedBackbone):
    """A 3×3 convolution of 192 channels and nine Inception blocks in three stages, max-pooling between them.

    From images (N, 3, 32, 32) the stages return 32, 16 and 8 pixels a side with 480, 832 and 1024 channels.

    Args:
        drop_rate: of the channels of the last stage in training, in [0, 1). The source drops after average
            pooling, which is equivalent.
        out_indices, in_channels, init_cfg: as of `StagedBackbone`; by default PyTorch's weights, as in the source.

    Source: Szegedy et al., Going Deeper with Convolutions, arXiv 1409.4842, in the form that Yuan et al.,
    Teacher-free Knowledge Distillation, arXiv 1909.11723, compare: BatchNorm after every convolution (which also
    has a bias), two 3×3 convolutions for each 5×5, one convolution as the stem, no auxiliary classifiers. As in
    their code, the BatchNorm after the first of those two convolutions divides by √(variance + channels), 32 to
    128, instead of √(variance + 1e-5).
    """

    def __init__(self, drop_rate: float = 0.4, out_indices: Sequence[int] = (2,), in_channels: int = 3,
                 init_cfg: Init = None) -> None:
        if not 0 <= drop_rate < 1:
            raise ConfigError(f'drop_rate={drop_rate!r}, expected a probability in [0, 1).')
        width, stages = 192, []
        for i, blocks in enumerate(STAGES):
            stage = nn.Sequential(*([nn.MaxPool2d(3, 2, 1)] if i else []))
            for block in blocks:
                stage.append(Inception(width, *block))
                one, _, three, _, five, pooled = block
                width = one + three + five + pooled
            stages.append(stage)
        stages[-1].append(nn.Dropout2d(drop_rate))
        super().__init__(conv_bn(in_channels, 192, 3, bias=True), stages, out_indices, init_cfg)
