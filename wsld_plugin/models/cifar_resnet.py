"""The ResNets of the CIFAR-100 tables, for images of 32 pixels: three stages instead of four."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock

from wsld_plugin.errors import check_choice
from wsld_plugin.registry import MODELS

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

    Raises:
        ConfigError: another depth.

    Source: He et al., Deep Residual Learning, arXiv 1512.03385, section 4.2, with the shortcuts and widths of
    the networks that Tian et al., Contrastive Representation Distillation, arXiv 1910.10699, compare: where
    the size changes, the shortcut is a 1×1 convolution with BatchNorm (He et al. pad with zeros).
    """

    arch_settings = {depth: (BasicBlock, ((depth - 2) // 6,) * 3) for depth in DEPTHS}

    def __init__(self,
                 depth: int,
                 stem_channels: int = 16,
                 base_channels: int = 16,
                 out_indices: Sequence[int] = (2,),
                 zero_init_residual: bool = False,
                 **kwargs: Any) -> None:
        check_choice('depth', depth, DEPTHS)
        super().__init__(depth, stem_channels=stem_channels, base_channels=base_channels, num_stages=3,
                         strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=out_indices,
                         zero_init_residual=zero_init_residual, **kwargs)
