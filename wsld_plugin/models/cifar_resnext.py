"""ResNeXt for images of 32 pixels: mmpretrain's blocks in three stages behind its CIFAR stem."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones import ResNet_CIFAR, ResNeXt
from mmpretrain.models.backbones.resnext import Bottleneck

from wsld_plugin.registry import MODELS

from .stages import blocks_per_stage, check_out_indices


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

    Raises:
        ConfigError: another depth, a stage that does not exist.

    Source: Xie et al., Aggregated Residual Transformations, arXiv 1611.05431, section 5.2: ResNeXt-29, 8×64d,
    also in Yuan et al., Teacher-free Knowledge Distillation, arXiv 1909.11723.
    """

    def __init__(self,
                 depth: int = 29,
                 groups: int = 8,
                 width_per_group: int = 64,
                 out_indices: Sequence[int] = (2,),
                 zero_init_residual: bool = False,
                 **kwargs: Any) -> None:
        self.arch_settings = {depth: (Bottleneck, (blocks_per_stage(depth, 9, 2),) * 3)}
        check_out_indices(out_indices, 3)
        super().__init__(depth, groups, width_per_group, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1),
                         out_indices=out_indices, zero_init_residual=zero_init_residual, **kwargs)
