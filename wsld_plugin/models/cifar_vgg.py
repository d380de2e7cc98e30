"""VGG for images of 32 pixels; mmpretrain's pools them to one pixel, and mmcv warns about each of its biases."""
from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from wsld_plugin.errors import check_choice
from wsld_plugin.registry import MODELS

from .stages import KAIMING, Init, StagedBackbone, conv_bn

WIDTHS = (64, 128, 256, 512, 512)
POOLED = (False, True, True, True, False)  # whether max-pooling stands before the stage
BLOCKS = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@MODELS.register_module()
class CifarVGG(StagedBackbone):
    """Five stages of 3×3 convolutions, each with BatchNorm and ReLU; max-pooling after the first three stages.

    From images (N, 3, 32, 32) the stages return, before the pooling, 32, 16, 8, 4 and 4 pixels a side with 64,
    128, 256, 512 and 512 channels.

    Args:
        depth: 8, 11, 13, 16 or 19, as the networks are named: the convolutions and the three linear layers of
            the ImageNet networks, where these have only the one of the head.
        out_indices, in_channels, init_cfg: as of `StagedBackbone`; by default Kaiming's weights, as in the source.

    Source: Simonyan and Zisserman, arXiv 1409.1556, in the form that Tian et al., Contrastive Representation
    Distillation, arXiv 1910.10699, compare: with BatchNorm, although the convolutions have biases. Their code pools
    after the fourth stage too when images have 64 pixels; here images of any size are pooled three times.
    """

    def __init__(self, depth: int, out_indices: Sequence[int] = (4,), in_channels: int = 3,
                 init_cfg: Init = KAIMING) -> None:
        check_choice('depth', depth, BLOCKS)
        stages, before = [], in_channels
        for width, blocks, pooled in zip(WIDTHS, BLOCKS[depth], POOLED, strict=True):
            stage = nn.Sequential(*([nn.MaxPool2d(2)] if pooled else []))
            for _ in range(blocks):
                stage.append(conv_bn(before, width, 3, bias=True))
                before = width
            stages.append(stage)
        super().__init__(nn.Identity(), stages, out_indices, init_cfg)
