"""Residual and densely connected networks of the CIFAR-100 tables, for images of 32 pixels."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.backbones import DenseNet, ResNet_CIFAR, ResNeXt
from mmpretrain.models.backbones.resnet import BasicBlock
from mmpretrain.models.backbones.resnext import Bottleneck
from torch import nn
from torch.nn import functional as F

from wsld_plugin.errors import ConfigError, check_choice, check_integer
from wsld_plugin.registry import MODELS

from .stages import KAIMING, Init, StagedBackbone, blocks_per_stage, check_out_indices

DEPTHS = (8, 14, 20, 32, 44, 56, 110)


@MODELS.register_module()
class CifarResNet(ResNet_CIFAR):
    """A 3×3 convolution and three stages of n basic blocks each, n = (depth − 2) / 6.

    From images (N, 3, 32, 32) the stages return 32, 16 and 8 pixels a side with ``base_channels``, twice and
    four times as many channels.

    Args:
        depth: 8, 14, 20, 32, 44, 56 or 110.
        stem_channels: of the first convolution. resnet8x4 and resnet32x4 have 32.
        base_channels: of the first stage. resnet8x4 and resnet32x4 have 64.
        out_indices: which stages to return, 0 to 2.
        zero_init_residual: whether every block starts as the identity; not so in the tables.
        **kwargs: as for mmpretrain's ``ResNet_CIFAR``.

    Source: He et al., Deep Residual Learning, arXiv 1512.03385, section 4.2, with the shortcuts and widths of
    the networks that Tian et al., Contrastive Representation Distillation, arXiv 1910.10699, compare: where
    the size changes, the shortcut is a 1×1 convolution with BatchNorm (He et al. pad with zeros).
    """

    arch_settings = {depth: (BasicBlock, ((depth - 2) // 6,) * 3) for depth in DEPTHS}

    def __init__(self, depth: int, stem_channels: int = 16, base_channels: int = 16,
                 out_indices: Sequence[int] = (2,), zero_init_residual: bool = False, **kwargs: Any) -> None:
        check_choice('depth', depth, DEPTHS)
        super().__init__(depth, stem_channels=stem_channels, base_channels=base_channels, num_stages=3,
                         strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=out_indices,
                         zero_init_residual=zero_init_residual, **kwargs)


@MODELS.register_module()
class CifarResNeXt(ResNeXt, ResNet_CIFAR):
    """ResNeXt-depth, groups×width_per_group d: a 3×3 convolution and three stages of n blocks, n = (depth − 2) / 9.

    From images (N, 3, 32, 32) the stages return 32, 16 and 8 pixels a side with 256, 512 and 1024 channels.

    Args:
        depth: 9n + 2: 20, 29, ….
        groups: of the 3×3 convolutions.
        width_per_group: channels of a group in the first stage.
        out_indices: which stages to return, 0 to 2.
        zero_init_residual: whether every block starts as the identity; the source's do not.
        **kwargs: as for mmpretrain's ``ResNet_CIFAR``. Kaiming's initialisation there is the source's.

    Source: Xie et al., Aggregated Residual Transformations, arXiv 1611.05431, section 5.2: ResNeXt-29, 8×64d,
    also in Yuan et al., Teacher-free Knowledge Distillation, arXiv 1909.11723.
    """

    def __init__(self, depth: int = 29, groups: int = 8, width_per_group: int = 64,
                 out_indices: Sequence[int] = (2,), zero_init_residual: bool = False, **kwargs: Any) -> None:
        self.arch_settings = {depth: (Bottleneck, (blocks_per_stage(depth, 9, 2),) * 3)}
        check_out_indices(out_indices, 3)
        super().__init__(depth, groups, width_per_group, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1),
                         out_indices=out_indices, zero_init_residual=zero_init_residual, **kwargs)


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
        out_indices, in_channels, init_cfg: as of `StagedBackbone`; by default Kaiming's weights, as in the source.

    Source: Zagoruyko and Komodakis, Wide Residual Networks, arXiv 1605.07146, in the form that Tian et al.,
    Contrastive Representation Distillation, arXiv 1910.10699, compare.
    """

    def __init__(self, depth: int, widen_factor: int = 1, drop_rate: float = 0., out_indices: Sequence[int] = (2,),
                 in_channels: int = 3, init_cfg: Init = KAIMING) -> None:
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


@MODELS.register_module()
class CifarDenseNet(DenseNet):
    """A 3×3 convolution, four dense blocks and, after each but the last, a transition that halves the size.

    From images (N, 3, 32, 32) the stages return 16, 8, 4 and 4 pixels a side, the transition included; depth 121
    has 128, 256, 512 and 1024 channels.

    Args:
        depth: 121, 161, 169 or 201.
        out_indices: which stages to return, 0 to 3.
        in_channels: of the images.
        **kwargs: as for mmpretrain's ``DenseNet``. PyTorch's own initialisation is the source's.

    Source: Huang et al., Densely Connected Convolutional Networks, arXiv 1608.06993, in the form that Yuan et
    al., Teacher-free Knowledge Distillation, arXiv 1909.11723, compare. As there and unlike mmpretrain's: no
    BatchNorm, ReLU or pooling in the stem, and no ReLU in a transition.
    """

    def __init__(self, depth: int = 121, out_indices: Sequence[int] = (3,), in_channels: int = 3,
                 **kwargs: Any) -> None:
        check_choice('depth', depth, sorted(map(int, self.arch_settings)))
        check_out_indices(out_indices, 4)
        super().__init__(str(depth), in_channels=in_channels, out_indices=out_indices, **kwargs)
        self.stem = nn.Conv2d(in_channels, self.init_channels, 3, padding=1, bias=False)
        for transition in self.transitions[:-1]:
            transition.act = nn.Identity()
