"""Parts of the networks: a stem and stages, convolutions with BatchNorm, and the checks of their arguments.

Every network raises ConfigError for an argument outside its documented range.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import nn

from wsld_plugin.errors import ConfigError

Init = dict | Sequence[dict] | None  # of mmengine's modules; None leaves PyTorch's own initialisation
#: Normal with variance 2 / (outputs · kernel area), biases 0: the first weights in most of the tables' code.
KAIMING = (dict(type='Kaiming', layer='Conv2d'), dict(type='Constant', val=1, layer='_BatchNorm'))


class StagedBackbone(BaseBackbone):
    """A stem and stages, run one after the other. The networks also take ``in_channels``, those of the images.

    Args:
        stem, stages: the modules.
        out_indices: which stages to return, counted from 0; the networks return the last by default.
        init_cfg: as of any mmengine module; None keeps PyTorch's own initialisation.

    Returns:
        A tuple with the feature map (N, C, H, W) of each stage in ``out_indices``, in order.
    """

    def __init__(self, stem: nn.Module, stages: Sequence[nn.Module], out_indices: Sequence[int],
                 init_cfg: Init = None) -> None:
        super().__init__([*init_cfg] if isinstance(init_cfg, tuple) else init_cfg)
        check_out_indices(out_indices, len(stages))
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.out_indices = tuple(out_indices)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Feature maps of the chosen stages."""
        x = self.stem(x)
        outs = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> StagedBackbone:
        """Set the mode; mmpretrain's base class would return None."""
        super().train(mode)
        return self


def conv_bn(in_channels: int, out_channels: int, kernel_size: int = 1, *, stride: int = 1,
            padding: int | None = None, groups: int = 1, bias: bool = False, eps: float = 1e-5,
            act: type[nn.Module] | None = nn.ReLU) -> nn.Sequential:
    """Convolution, BatchNorm and, unless ``act`` is None, activation; padded to keep the size by default."""
    padding = kernel_size // 2 if padding is None else padding
    layers = [nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias),
              nn.BatchNorm2d(out_channels, eps=eps)]
    return nn.Sequential(*layers, *([] if act is None else [act(inplace=True)]))


def check_out_indices(out_indices: Sequence[int], stages: int) -> None:
    """Raise :class:`ConfigError` for stages that a network does not have."""
    if not out_indices or not set(out_indices) <= set(range(stages)):
        raise ConfigError(f'out_indices={tuple(out_indices)}, expected stages 0 to {stages - 1}.')


def blocks_per_stage(depth: int, per_block: int, others: int) -> int:
    """The n ≥ 1 of depth = per_block · n + others, where ``per_block`` counts one block of every stage."""
    n, rest = divmod(depth - others, per_block) if isinstance(depth, int) else (0, 1)
    if n >= 1 and not rest:
        return n
    known = ', '.join(str(per_block * i + others) for i in range(1, 4))
    hint = ''
    if isinstance(depth, (int, float)):
        hint = f' The nearest is {per_block * max(1, round((depth - others) / per_block)) + others}.'
    raise ConfigError(f'depth={depth!r}, expected {per_block}n + {others}: {known} and so on.{hint}')
