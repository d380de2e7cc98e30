"""Networks restated in plain operations, with the weights of a module in their order of definition."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F


class PlainNetwork:
    """Random float64 weights for ``network``, set to eval mode, and the operations that consume them."""

    def __init__(self, network: nn.Module) -> None:
        torch.manual_seed(0)
        self.network = network
        network.double().train(False)
        for name, value in network.state_dict().items():
            if value.dim() > 1:
                value.normal_(std=(2 / value[0].numel()) ** .5)
            elif 'running_var' in name or name.endswith('weight'):
                value.uniform_(.5, 1.5)
            elif value.is_floating_point():
                value.normal_()
        self.left = [value for name, value in network.state_dict().items() if 'num_batches' not in name]

    def conv(self, x: torch.Tensor, stride: int = 1, padding: int | None = None, groups: int = 1,
             bias: bool = False) -> torch.Tensor:
        """A convolution, by default padded to keep the size."""
        weight = self.left.pop(0)
        padding = weight.shape[-1] // 2 if padding is None else padding
        return F.conv2d(x, weight, self.left.pop(0) if bias else None, stride, padding, groups=groups)

    def norm(self, x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
        """BatchNorm with the running statistics."""
        weight, bias, mean, var = (self.left.pop(0).view(-1, 1, 1) for _ in range(4))
        return (x - mean) / (var + eps).sqrt() * weight + bias

    def conv_norm(self, x: torch.Tensor, act: Callable | None = F.relu, **options) -> torch.Tensor:
        """Convolution, BatchNorm, activation."""
        x = self.norm(self.conv(x, **options))
        return x if act is None else act(x)

    def assert_same(self, x: torch.Tensor, *expected: torch.Tensor) -> None:
        """The network's maps of ``x`` are ``expected``, from all weights, and not trivially so.

        Each of its parameters has a finite gradient, and no convolution's is zero.
        """
        maps = self.network(x)
        for actual, map_ in zip(maps if isinstance(maps, Sequence) else [maps], expected, strict=True):
            assert map_.std() > 0
            torch.testing.assert_close(actual, map_, rtol=1e-9, atol=1e-9)
        assert not self.left
        actual.square().sum().backward()
        for name, parameter in self.network.named_parameters():
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any() or parameter.dim() == 1, name


def images(size: int = 16) -> torch.Tensor:
    """Two random images."""
    return torch.randn(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def shuffled(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Interleave the channels of the groups: the first of each group, then the second of each, …"""
    each = x.shape[1] // groups
    return x[:, [group * each + i for i in range(each) for group in range(groups)]]
