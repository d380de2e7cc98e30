"""mmengine's Runner, its model in the memory layout that convolutions run fastest in."""
from __future__ import annotations

from typing import Any, cast

import torch
from mmengine import runner
from mmengine.logging import print_log
from torch import nn

from wsld_plugin.registry import RUNNERS


@RUNNERS.register_module()
class Runner(runner.Runner):
    """mmengine's Runner; with ``accelerate.channels_last`` it converts the model before it is wrapped.

    Afterwards would be too late: a distributed wrapper lays out its gradient buckets like the weights it finds. But
    weights are drawn in the order in which they lie, so while they are drawn they lie as they always do: a seed
    stands for the same weights.
    """

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """The model as mmengine builds it, converted."""
        built = super().build_model(model)
        if (self.cfg.get('accelerate') or {}).get('channels_last'):
            use_channels_last(built)
        return built

    def _init_model_weights(self) -> None:
        ordered = any(_is_channels_last(parameter) for parameter in self.model.parameters())
        if ordered:
            self.model.to(memory_format=torch.contiguous_format)
        super()._init_model_weights()
        if ordered:
            self.model.to(memory_format=torch.channels_last)


def use_channels_last(model: nn.Module) -> None:
    """Put a model's weights, its hidden teacher's too, and the batches that it prepares into channels-last order.

    The order in memory changes, no shape does. Idle, with a line in the log, where there is no 2-d convolution.
    """
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        print_log('accelerate.channels_last: left out, the model has no 2-d convolution.', logger='current')
        return
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    cast(nn.Module, model.data_preprocessor).register_forward_hook(_to_channels_last)


def _is_channels_last(tensor: torch.Tensor) -> bool:
    ordered = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return ordered and not tensor.is_contiguous()


def _to_channels_last(module: nn.Module, arguments: Any, batch: Any) -> Any:
    inputs = batch.get('inputs') if isinstance(batch, dict) else None
    if isinstance(inputs, torch.Tensor) and inputs.dim() == 4:
        batch['inputs'] = inputs.contiguous(memory_format=torch.channels_last)
    return batch
