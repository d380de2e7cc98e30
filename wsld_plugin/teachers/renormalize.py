"""Convert a batch from one model's normalisation and channel order to another's."""
from __future__ import annotations

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
        scale, shift: a and b, (C, 1, 1).
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
    """The map of a batch from the preparation of ``source`` to that of ``target``, for the same images.

    Both subtract a mean and divide by a standard deviation, or neither, in RGB or in BGR, so

    .. math:: y = \\frac{(x\\,\\sigma_s + \\mu_s) - \\mu_t}{\\sigma_t}

    with the channels of x, σ_s and μ_s reversed where the two orders differ. Constants are computed in float64. The
    images of a batch must have one size, because padding between them is not undone.

    Args:
        source, target: mmpretrain's ``ClsDataPreprocessor``, mmengine's ``ImgDataPreprocessor`` (or a subclass of
            either), or mmengine's ``BaseDataPreprocessor`` itself, which changes nothing.

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
    mean, std, reversed_, divisor, value = _read(source)
    target_mean, target_std, target_reversed, target_divisor, target_value = _read(target)
    flip = reversed_ != target_reversed
    if flip:  # preprocessors reverse three channels and no other number
        mean, std = (each.flip(0) if len(each) == 3 else each for each in (mean, std))
    scale, shift = torch.broadcast_tensors(std / target_std, (mean - target_mean) / target_std)
    if divisor != target_divisor:
        raise ConfigError(f'images are padded to multiples of {divisor} pixels for one model and of {target_divisor} '
                          'for the other. Give both data preprocessors the same pad_size_divisor.')
    padding = value * scale + shift  # padding is added after normalisation
    if divisor > 1 and not torch.allclose(padding, torch.full_like(padding, target_value), atol=1e-6):
        raise ConfigError(f"padding of value {value} becomes {padding.flatten().tolist()} in the other model's "
                          f'normalisation, expected {target_value}. Crop the images to a size that needs no padding '
                          'and set pad_size_divisor=1 in both.')
    found = Renormalize(scale, shift, flip)
    return found if found.affine or flip else None


def _read(preprocessor: nn.Module) -> tuple[torch.Tensor, torch.Tensor, bool, int, float]:
    """Mean and std, (C or 1, 1, 1) float64; whether channels are reversed; divisor and value of the padding."""
    mean, std = torch.zeros(1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.float64)
    if type(preprocessor) is BaseDataPreprocessor:
        return mean, std, False, 1, 0.0
    if not isinstance(preprocessor, ClsDataPreprocessor | ImgDataPreprocessor):
        raise ConfigError(
            f'how a {type(preprocessor).__name__} normalises is not known, so its batches cannot be converted for '
            'another model. Expected a ClsDataPreprocessor, an ImgDataPreprocessor or a BaseDataPreprocessor. Write '
            "data_preprocessor=dict(type='ClsDataPreprocessor', mean=…, std=…, to_rgb=…) in that model's config, or "
            'derive the class from ClsDataPreprocessor.')
    flip = preprocessor.to_rgb if isinstance(preprocessor, ClsDataPreprocessor) else preprocessor._channel_conversion
    if preprocessor._enable_normalize:
        mean, std = preprocessor.mean.double().cpu(), preprocessor.std.double().cpu()
    return mean, std, bool(flip), preprocessor.pad_size_divisor, preprocessor.pad_value
