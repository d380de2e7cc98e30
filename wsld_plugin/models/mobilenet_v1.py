"""MobileNetV1, which is not in mmpretrain: the student of the ResNet-50 → MobileNetV1 tables."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.models.utils import make_divisible
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from wsld_plugin.errors import ConfigError, check_integer, check_number
from wsld_plugin.registry import MODELS

_INIT = (dict(type='Kaiming', layer=['Conv2d']),
         dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']))


@MODELS.register_module()
class MobileNetV1(BaseBackbone):
    """A 3×3 convolution and 13 depthwise separable ones, each followed by normalisation and activation.

    The blocks are grouped by width into ``layer1`` … ``layer5``; from images (N, 3, 224, 224) these return
    feature maps of 112, 56, 28, 14 and 7 pixels a side.

    Args:
        widen_factor: the paper's width multiplier α, > 0; channels are rounded to multiples of 8, which
            changes nothing for the paper's 1, .75, .5 and .25.
        out_indices: which layers to return, 0 for ``layer1`` to 4 for ``layer5``.
        frozen_stages: -1: none; 0: the stem; i: the stem and the first i layers, statistics included.
        norm_eval: keep BatchNorm's running statistics as they are during training.
        conv_cfg, norm_cfg, act_cfg: passed to ``mmcv.cnn.ConvModule``.
        init_cfg: as for any mmengine module; default: Kaiming's. None: PyTorch's own, the start in WSLD's code.

    Returns:
        A tuple with the feature map (N, C, H, W) of each layer in ``out_indices``, in order.

    Raises:
        ConfigError: a layer or stage that does not exist, or a width that is not positive.

    Source: Howard et al., MobileNets, arXiv 1704.04861, table 1. It prints stride 2 for the last depthwise
    convolution, but 7×7 on both sides of it: the stride here is 1.
    """

    # channels, blocks, stride of the first block
    arch_settings = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))

    def __init__(self,
                 widen_factor: float = 1.0,
                 out_indices: Sequence[int] = (4,),
                 frozen_stages: int = -1,
                 norm_eval: bool = False,
                 conv_cfg: dict | None = None,
                 norm_cfg: dict = dict(type='BN'),  # noqa: B006  mmcv copies it
                 act_cfg: dict = dict(type='ReLU'),  # noqa: B006
                 init_cfg: dict | Sequence[dict] | None = _INIT) -> None:
        super().__init__([*init_cfg] if isinstance(init_cfg, tuple) else init_cfg)
        layers = len(self.arch_settings)
        check_number('widen_factor', widen_factor, 0, inclusive=False)
        if not set(out_indices) <= set(range(layers)):
            raise ConfigError(f'out_indices={tuple(out_indices)}, expected layers 0 to {layers - 1}.')
        check_integer('frozen_stages', frozen_stages, -1, layers)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

        parts = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        width = make_divisible(32 * widen_factor, 8)
        self.conv1 = ConvModule(3, width, 3, stride=2, padding=1, **parts)
        for number, (channels, blocks, stride) in enumerate(self.arch_settings, start=1):
            channels = make_divisible(channels * widen_factor, 8)
            self.add_module(f'layer{number}', nn.Sequential(*(
                DepthwiseSeparableConvModule(channels if i else width, channels, 3, stride=1 if i else stride,
                                             padding=1, **parts)
                for i in range(blocks))))
            width = channels
        self._freeze()

    @property
    def stages(self) -> list[nn.Module]:
        """The stem and the layers, in the order in which they are frozen."""
        return [self.conv1, *(getattr(self, f'layer{i + 1}') for i in range(len(self.arch_settings)))]

    def init_weights(self) -> None:
        """Initialise by ``init_cfg``; without one undo what mmcv's ``ConvModule`` does on its own."""
        super().init_weights()
        if not self.init_cfg:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Feature maps of the chosen layers."""
        stem, *layers = self.stages
        x = stem(x)
        outs = []
        for i, layer in enumerate(layers):
            x = layer(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> MobileNetV1:
        """Set the mode of all but the frozen stages."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self) -> None:
        for stage in self.stages[:self.frozen_stages + 1]:
            stage.eval()
            stage.requires_grad_(False)
