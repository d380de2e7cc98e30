"""DenseNet for images of 32 pixels: mmpretrain's with another stem and other transitions."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones import DenseNet
from torch import nn

from wsld_plugin.errors import check_choice
from wsld_plugin.registry import MODELS

from .stages import check_out_indices


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

    Raises:
        ConfigError: another depth, a stage that does not exist.

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
