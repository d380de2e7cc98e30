"""Convert a batch from one model's normalisation and channel order to another's."""
from __future__ import annotations

from typing import NamedTuple

import torch
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import nn

from wsld_plugin.errors import ConfigError


class Renormalize(nn.Module):
    """An affine map of each channel, after reversing the order of the channels if asked.

    .. math:: y_c = a_c \\, x_{\\pi(c)} + b_c

    It commutes with Mixup, CutMix and every other weighting of images whose weights sum to 1.

    Args:
        scale: a, shape (C, 1, 1).
        shift: b, shape (C, 1, 1).
        flip: whether π reverses the channels of a three-channel image (BGR ↔ RGB).
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, scale: torch.Tensor, shift: torch.Tensor, flip: bool = False) -> None:
        super().__init__()
        self.flip = flip
        self.affine = bool((scale != 1).any() or (shift != 0).any())
        self.register_buffer('scale', scale.float(), persistent=False)
        self.register_buffer('shift', shift.float(), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) in, images of the same floating-point type out; integers become float32."""
        if self.flip and inputs.size(1) == 3:
            inputs = inputs.flip(1)
        if not inputs.is_floating_point():
            inputs = inputs.float()
        if not self.affine:
            return inputs
        # half-precision images are promoted by the float32 constants and rounded once
        return torch.addcmul(self.shift, inputs, self.scale).to(inputs.dtype)

    def extra_repr(self) -> str:
        """The constants, for ``print(model)``."""
        scale, shift = self.scale.flatten().tolist(), self.shift.flatten().tolist()
        return f'{scale=}, {shift=}, flip={self.flip}'


def renormalize(source: nn.Module, target: nn.Module) -> Renormalize | None:
    """The map from a batch as ``source`` prepared it to what ``target`` would have made of the same images.

    Both subtract a mean and divide by a standard deviation, or neither, in RGB or in BGR, so

    .. math:: y = \\frac{(x\\,\\sigma_s + \\mu_s) - \\mu_t}{\\sigma_t}

    with the channels of x, σ_s and μ_s reversed where the two orders differ. Constants are computed in float64. The
    images of a batch must have one size, because padding between them is not undone.

    Args:
        source: mmpretrain's ``ClsDataPreprocessor``, mmengine's ``ImgDataPreprocessor`` (or a subclass of either), or
            mmengine's ``BaseDataPreprocessor`` itself, which changes nothing.
        target: likewise.

    Returns:
        The map, or None if both see the same.

    Raises:
        ConfigError: a data preprocessor of another type, or padding that differs.

    >>> from mmpretrain.models.utils import ClsDataPreprocessor
    >>> pixels = torch.tensor([[[[255]]]], dtype=torch.uint8)
    >>> unit = ClsDataPreprocessor(mean=[0], std=[255])
    >>> centred = ClsDataPreprocessor(mean=[127.5], std=[127.5])
    >>> renormalize(unit, centred)(unit(dict(inputs=pixels))['inputs'])
    tensor([[[[1.]]]])
    """
    if source is target:
        return None
    given, wanted = _read(source), _read(target)
    flip = given.flip != wanted.flip
    mean, std = given.mean, given.std
    if flip:  # preprocessors reverse three channels and no other number
        mean, std = (each.flip(0) if len(each) == 3 else each for each in (mean, std))
    scale, shift = torch.broadcast_tensors(std / wanted.std, (mean - wanted.mean) / wanted.std)
    divisors, padding = (given.pad_size_divisor, wanted.pad_size_divisor), given.pad_value * scale + shift
    if divisors[0] != divisors[1]:
        raise ConfigError(f'images are padded to multiples of {divisors[0]} pixels for one model and of '
                          f'{divisors[1]} for the other. Give both data preprocessors the same pad_size_divisor.')
    # padding is added after normalisation
    if divisors[0] > 1 and not torch.allclose(padding, torch.full_like(padding, wanted.pad_value), atol=1e-6):
        raise ConfigError(f'padding of value {given.pad_value} becomes {padding.flatten().tolist()} in the other '
                          f"model's normalisation, expected {wanted.pad_value}. Crop the images to a size that needs "
                          'no padding and set pad_size_divisor=1 in both.')
    found = Renormalize(scale, shift, flip)
    return found if found.affine or flip else None


class _Preparation(NamedTuple):
    """What a data preprocessor does, with float64 constants (C, 1, 1); C = 1: the same for all channels."""

    mean: torch.Tensor
    std: torch.Tensor
    flip: bool = False
    pad_size_divisor: int = 1
    pad_value: float = 0.0


def _read(preprocessor: nn.Module) -> _Preparation:
    mean, std = torch.zeros(1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.float64)
    if type(preprocessor) is BaseDataPreprocessor:
        return _Preparation(mean, std)
    if isinstance(preprocessor, ClsDataPreprocessor):
        flip = preprocessor.to_rgb
    elif isinstance(preprocessor, ImgDataPreprocessor):
        flip = preprocessor._channel_conversion
    else:
        raise ConfigError(
            f'how a {type(preprocessor).__name__} normalises is not known, so its batches cannot be converted for '
            'another model. Expected a ClsDataPreprocessor, an ImgDataPreprocessor or a BaseDataPreprocessor. Write '
            "data_preprocessor=dict(type='ClsDataPreprocessor', mean=…, std=…, to_rgb=…) in that model's config, or "
            'derive the class from ClsDataPreprocessor.')
    if preprocessor._enable_normalize:
        mean, std = preprocessor.mean.double().cpu(), preprocessor.std.double().cpu()
    return _Preparation(mean, std, bool(flip), preprocessor.pad_size_divisor, preprocessor.pad_value)
