"""MobileNetV1, which mmpretrain lacks, and the two MobileNetV2 of the CIFAR-100 tables."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.models.utils import make_divisible
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from wsld_plugin.errors import ConfigError, check_choice, check_integer, check_number
from wsld_plugin.registry import MODELS

from .stages import KAIMING, Init, StagedBackbone, check_out_indices, conv_bn

# MobileNetV1: channels, blocks and first stride of each stage, table 1 of the paper
V1_STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))
# MobileNetV2: channels and blocks of each stage, table 2 of the paper
CHANNELS = (16, 24, 32, 64, 96, 160, 320)
BLOCKS = (1, 2, 3, 4, 3, 3, 1)
VARIANTS: dict[str, dict[str, Any]] = dict(
    crd=dict(stem=dict(kernel_size=3, stride=2, padding=1), strides=(1, 1, 2, 2, 1, 2, 1),
             parts=dict(bias=False, act=nn.ReLU), init_cfg=KAIMING),
    tf_kd=dict(stem=dict(kernel_size=1, stride=1, padding=1), strides=(1, 2, 2, 2, 1, 1, 1),
               parts=dict(bias=True, act=nn.ReLU6), init_cfg=None))


@MODELS.register_module()
class MobileNetV1(BaseBackbone):
    """A 3×3 convolution and 13 depthwise separable ones, each followed by normalisation and activation.

    From images (N, 3, 224, 224) the layers ``layer1`` … ``layer5`` return 112, 56, 28, 14 and 7 pixels a side with
    64, 128, 256, 512 and 1024 channels at width 1.

    Args:
        widen_factor: the paper's width multiplier α, > 0; channels are rounded to multiples of 8, which changes
            nothing for the paper's 1, .75, .5 and .25.
        out_indices: which layers to return, 0 for ``layer1`` to 4 for ``layer5``.
        frozen_stages: -1: none; 0: the first convolution; i: it and the first i layers, statistics included.
        norm_eval: keep BatchNorm's running statistics as they are during training.
        norm_cfg, act_cfg: as of ``mmcv.cnn.ConvModule``.
        in_channels: channels of the images.
        init_cfg: by default Kaiming's weights. None: PyTorch's, as in WSLD's code.

    Source: Howard et al., MobileNets, arXiv 1704.04861, table 1. It prints stride 2 for the last depthwise
    convolution, but 7×7 on both sides of it: the stride here is 1.
    """

    def __init__(self, widen_factor: float = 1.0, out_indices: Sequence[int] = (4,), frozen_stages: int = -1,
                 norm_eval: bool = False, norm_cfg: Mapping[str, Any] = MappingProxyType(dict(type='BN')),
                 act_cfg: Mapping[str, Any] = MappingProxyType(dict(type='ReLU')), in_channels: int = 3,
                 init_cfg: Init = KAIMING) -> None:
        check_number('widen_factor', widen_factor, 0, inclusive=False)
        check_out_indices(out_indices, len(V1_STAGES))
        if frozen_stages not in range(-1, len(V1_STAGES) + 1):
            raise ConfigError(f'frozen_stages={frozen_stages!r}, expected -1 (none) to {len(V1_STAGES)} (all).')
        super().__init__([*init_cfg] if isinstance(init_cfg, tuple) else init_cfg)
        self.out_indices = tuple(out_indices)
        self.norm_eval = norm_eval
        parts = dict(norm_cfg=dict(norm_cfg), act_cfg=dict(act_cfg))
        width = make_divisible(32 * widen_factor, 8)
        self.conv1 = ConvModule(in_channels, width, 3, stride=2, padding=1, **parts)
        for number, (channels, blocks, stride) in enumerate(V1_STAGES, start=1):
            layer = nn.Sequential()
            for i in range(blocks):
                layer.append(DepthwiseSeparableConvModule(
                    width, width := make_divisible(channels * widen_factor, 8), 3, stride=1 if i else stride,
                    padding=1, **parts))
            self.add_module(f'layer{number}', layer)
        self.frozen = list(self.children())[:frozen_stages + 1]
        self.train()

    def init_weights(self) -> None:
        """Initialise by ``init_cfg``; without one undo what mmcv's ``ConvModule`` does by itself."""
        super().init_weights()
        if not self.init_cfg:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Feature maps of the chosen layers."""
        x = self.conv1(x)
        outs = []
        for i in range(len(V1_STAGES)):
            x = getattr(self, f'layer{i + 1}')(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> MobileNetV1:
        """Set the mode, except for what is frozen."""
        super().train(mode)
        for module in self.modules():
            if mode and self.norm_eval and isinstance(module, _BatchNorm):
                module.eval()
        for module in self.frozen:
            module.eval().requires_grad_(False)
        return self


class InvertedResidual(nn.Module):
    """1×1 expansion, 3×3 depthwise, 1×1 linear; the input is added where shapes agree.

    Unlike the paper's and mmpretrain's, a block with ``expand_ratio=1`` has its first convolution too.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expand_ratio: int,
                 bias: bool, act: type[nn.Module]) -> None:
        super().__init__()
        hidden = in_channels * expand_ratio
        self.conv = nn.Sequential(
            conv_bn(in_channels, hidden, bias=bias, act=act),
            conv_bn(hidden, hidden, 3, stride=stride, groups=hidden, bias=bias, act=act),
            conv_bn(hidden, out_channels, bias=bias, act=None))
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (N, C, H, W) to (N, C', H / stride, W / stride)."""
        return x + self.conv(x) if self.adds_input else self.conv(x)


@MODELS.register_module()
class CifarMobileNetV2(StagedBackbone):
    """A stem, seven stages of inverted residual blocks and a 1×1 convolution of 1280 channels.

    From images (N, 3, 32, 32) the eight stages return

    ========= ====================================== ================================================
    variant   pixels a side                          other properties
    ========= ====================================== ================================================
    ``crd``   16, 16, 8, 4, 4, 2, 2, 2               3×3 stem of stride 2, ReLU, no biases
    ``tf_kd`` 34, 17, 9, 5, 5, 5, 5, 5               1×1 stem that is padded by 1, ReLU6, convolutions with
                                                     biases (cancelled by the BatchNorm after each)
    ========= ====================================== ================================================

    Args:
        widen_factor: of all channels but the last 1280, which only a factor > 1 changes; rounded down. The
            first table's network has .5.
        expand_ratio: of the hidden channels of all blocks but the first, an integer ≥ 1.
        variant: ``'crd'``, of Tian et al., or ``'tf_kd'``, of Yuan et al.
        out_indices, in_channels, init_cfg: as of `StagedBackbone`; by default Kaiming's weights for ``crd`` and
            PyTorch's for ``tf_kd``, as in the sources.

    Source: Sandler et al., MobileNetV2, arXiv 1801.04381, in the forms that Tian et al., Contrastive
    Representation Distillation, arXiv 1910.10699, and Yuan et al., Teacher-free Knowledge Distillation, arXiv
    1909.11723, compare. Both expand in the first block, as the paper does not, and both round the channels down,
    not to multiples of 8. The padded 1×1 stem is the second source's own: images grow from 32 to 34 pixels.
    """

    def __init__(self, widen_factor: float = 1.0, expand_ratio: int = 6, variant: str = 'crd',
                 out_indices: Sequence[int] = (7,), in_channels: int = 3, init_cfg: Init = None) -> None:
        check_choice('variant', variant, VARIANTS)
        if not int(min(CHANNELS) * widen_factor) >= 1:
            raise ConfigError(f'widen_factor={widen_factor!r}, expected a number ≥ 1/16, such as .5 or 1.')
        check_integer('expand_ratio', expand_ratio, 1)
        form = VARIANTS[variant]
        width = int(32 * widen_factor)
        stem = conv_bn(in_channels, width, **form['stem'], **form['parts'])
        stages = []
        for i, (channels, blocks, stride) in enumerate(zip(CHANNELS, BLOCKS, form['strides'], strict=True)):
            stage = nn.Sequential()
            for block in range(blocks):
                stage.append(InvertedResidual(width, int(channels * widen_factor), 1 if block else stride,
                                              expand_ratio if i else 1, **form['parts']))
                width = int(channels * widen_factor)
            stages.append(stage)
        stages.append(conv_bn(width, int(1280 * max(1, widen_factor)), **form['parts']))
        super().__init__(stem, stages, out_indices, form['init_cfg'] if init_cfg is None else init_cfg)
