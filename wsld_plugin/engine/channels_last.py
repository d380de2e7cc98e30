"""The memory order N, H, W, C, in which convolutions run fastest, where it is safe."""
from __future__ import annotations

from typing import Any, cast

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from torch import nn

# mmpretrain's backbones that train in this order, beside this package's own. Others may flatten a feature map with
# ``view``, which fails in it.
SAFE = frozenset((
    'ConvMixer', 'ConvNeXt', 'CSPDarkNet', 'CSPResNet', 'CSPResNeXt', 'DenseNet', 'EfficientNet', 'EfficientNetV2',
    'HRNet', 'MobileNetV2', 'MobileNetV3', 'MobileOne', 'RegNet', 'Res2Net', 'ResNeSt', 'ResNet', 'ResNet_CIFAR',
    'ResNetV1c', 'ResNetV1d', 'ResNeXt', 'RepVGG', 'SEResNet', 'SEResNeXt', 'ShuffleNetV1', 'ShuffleNetV2', 'VAN'))
_SAFE_NECKS = ('GlobalAveragePooling', 'NoneType')
_VECTORS = ('head', 'teacher_ce')  # what a recorder may pass on: no feature maps


def use_channels_last(model: nn.Module, always: bool = False) -> None:
    """Convert the weights of a model and of its teacher, and the batches that it preprocesses, to channels-last.

    No shape changes. Where :func:`obstacle` finds one, the model is left as it is, with a line in the log.

    Args:
        model: with a ``data_preprocessor``.
        always: convert it in any case.
    """
    reason = None if always else obstacle(model)
    if reason:
        print_log(f"accelerate.channels_last: left out, {reason}. 'always' converts the model in any case.",
                  logger='current')
        return
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    cast(nn.Module, model.data_preprocessor).register_forward_hook(_to_channels_last)


def obstacle(model: nn.Module) -> str | None:
    """Why a model may not train, or not faster, in channels-last; None if there is no reason.

    - It has no 2-d convolution.
    - A backbone is not in `SAFE`, a neck is not global average pooling, or a recorder passes feature maps to a loss:
      one of them may flatten a map with ``view``.
    - On a CPU, a layer has a kernel that writes outside its memory (torch 2.11, oneDNN; seen with AVX2): a 1×1
      convolution with a stride and fewer than 16 input channels, or GroupNorm.
    """
    convolving = [(role, part) for role, part in (('model', model), ('teacher', getattr(model, 'teacher', None)))
                  if isinstance(part, nn.Module) and any(isinstance(module, nn.Conv2d) for module in part.modules())]
    if not convolving:
        return 'the model has no 2-d convolution'
    for role, part in convolving:
        if not any(isinstance(getattr(module, 'backbone', None), nn.Module) for module in part.modules()):
            return f'the {role} has no backbone that is known to train in this order'
        for name, module in part.named_modules():
            kind = type(module).__name__
            if _unsafe(module):
                return f'{name} of the {role} ({kind}) has a faulty channels-last kernel on some processors'
            if isinstance(backbone := getattr(module, 'backbone', None), nn.Module):
                kind, neck = type(backbone).__name__, type(getattr(module, 'neck', None)).__name__
                if kind not in SAFE and not type(backbone).__module__.startswith('wsld_plugin.models.'):
                    return f'the backbone {kind} of the {role} is not known to train in this order'
                if neck not in _SAFE_NECKS:
                    return f'the neck {neck} of the {role} is not known to train in this order'
    distiller = getattr(model, 'distiller', None)
    for recorders in (distiller.student_recorders, distiller.teacher_recorders) if distiller is not None else ():
        for name, recorder in recorders.recorders.items():
            if str(recorder.source).split('.')[0] not in _VECTORS:
                return f'the recorder {name!r} passes on {recorder.source}, which a loss may flatten'
    return None


def _unsafe(layer: nn.Module) -> bool:
    if get_device() != 'cpu':  # where the model is going to be
        return False
    return isinstance(layer, nn.GroupNorm) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)
                                               and max(layer.stride) > 1 and layer.in_channels < 16)


def _to_channels_last(module: nn.Module, arguments: Any, batch: Any) -> Any:
    inputs = batch.get('inputs') if isinstance(batch, dict) else None
    if isinstance(inputs, torch.Tensor) and inputs.dim() == 4:
        batch['inputs'] = inputs.contiguous(memory_format=torch.channels_last)
    return batch
