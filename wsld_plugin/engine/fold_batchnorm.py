"""BatchNorm in eval mode folded into the convolution before it."""
from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# What a module may carry in the way of hooks; a folded module would not call, or feed, them as before.
_HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


class Fold:
    """The BatchNorms of a network that follow a convolution and nothing else, and their folding.

    .. math:: \\mathrm{BN}(W * x + b) = \\frac{\\gamma}{\\sqrt{v + \\epsilon}} W * x
              + \\Big(\\beta + \\frac{\\gamma (b - \\mu)}{\\sqrt{v + \\epsilon}}\\Big)

    A pair is folded only where the traced data flow (`torch.fx`) proves it right: the BatchNorm's input is the
    convolution's output, nothing else reads that output, each of the two is called once, and neither has a hook. The
    order in which modules were registered proves nothing and is not looked at. The constants are computed in float64
    and rounded once. Nothing changes before :meth:`apply`, and :meth:`undo` puts the old modules back.

    Args:
        network: a module of one tensor argument, in eval mode, such as a backbone.

    Raises:
        ValueError: it is in train mode, or its data flow cannot be traced; the message says why.
    """

    def __init__(self, network: nn.Module) -> None:
        if any(module.training for module in network.modules()):
            raise ValueError('it is not in eval mode')
        self._network = network
        self._old: dict[str, nn.Module] = {}
        self.pairs = list(_pairs(network, _trace(network)))

    def apply(self) -> None:
        """Fold every pair; the BatchNorm's place is taken by an identity."""
        for conv_name, norm_name in self.pairs:
            conv, norm = self._network.get_submodule(conv_name), self._network.get_submodule(norm_name)
            self._put(conv_name, _fused(cast(nn.Conv2d, conv), cast(_BatchNorm, norm)))
            self._put(norm_name, nn.Identity())

    def undo(self) -> None:
        """Put back what :meth:`apply` replaced."""
        for name, module in self._old.items():
            self._network.set_submodule(name, module)
        self._old.clear()

    def _put(self, name: str, module: nn.Module) -> None:
        self._old[name] = self._network.get_submodule(name)
        self._network.set_submodule(name, module)


class _Tracer(fx.Tracer):
    """Follows the calls of modules; those without children are not looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return next(m.children(), None) is None or super().is_leaf_module(m, module_qualified_name)


def _fused(conv: nn.Conv2d, norm: _BatchNorm) -> nn.Conv2d:
    fused = fuse_conv_bn_eval(copy.deepcopy(conv).double(), copy.deepcopy(norm).double()).to(conv.weight.dtype)
    for constants in (fused.weight, fused.bias):
        assert constants is not None  # a folded BatchNorm always leaves a bias
        constants.requires_grad_(conv.weight.requires_grad)
    weight = torch.empty_like(conv.weight)  # with its order in memory
    fused.weight.data = weight.copy_(fused.weight.data)
    return fused


def _trace(network: nn.Module) -> fx.Graph:
    try:
        return _Tracer().trace(network)
    except Exception as error:  # whatever the network's code raises when it is given no tensor
        reason = str(error).split('\n')[0]
        raise ValueError(f'its data flow cannot be traced ({type(error).__name__}: {reason})') from error


def _pairs(network: nn.Module, graph: fx.Graph) -> Iterator[tuple[str, str]]:
    calls = Counter(id(network.get_submodule(str(node.target))) for node in graph.nodes if node.op == 'call_module')
    for node in graph.nodes:
        norm = _module(network, node)
        if norm is None or not isinstance(norm, _NORMS) or norm.running_mean is None or len(node.args) != 1:
            continue
        before = node.args[0]
        conv = _module(network, before)
        if conv is None or not isinstance(conv, _CONVS) or set(before.users) != {node}:
            continue
        if calls[id(conv)] == calls[id(norm)] == 1 and not _hooked(conv) and not _hooked(norm):
            yield str(before.target), str(node.target)


def _module(network: nn.Module, node: Any) -> nn.Module | None:
    if isinstance(node, fx.Node) and node.op == 'call_module':
        return network.get_submodule(str(node.target))
    return None


def _hooked(module: nn.Module) -> bool:
    return any(getattr(module, name) for name in _HOOKS)
