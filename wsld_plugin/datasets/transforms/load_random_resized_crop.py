"""An image file to a random resized crop of it, in one step."""
from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import mmcv
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmpretrain.datasets import RandomResizedCrop

from wsld_plugin.registry import TRANSFORMS

from .jpeg_header import read_header
from .partial_decode import DENOMINATORS, decode_part


@TRANSFORMS.register_module()
class LoadRandomResizedCrop(RandomResizedCrop):
    """``LoadImageFromFile`` and ``RandomResizedCrop`` in one: the crop is drawn first, then what it needs decoded.

    The box is drawn by mmpretrain's own method from the size that the JPEG's header tells: the same random numbers in
    the same order, the same box. Then the image is decoded

    - down to the last row of the box only, where `simplejpeg` is installed and the JPEG is not progressive: the same
      pixels;
    - where ``scaled``, at the smallest of 1/1, 1/2, 1/4 at which the box still has the pixels of the output in
      both directions, so that nothing is enlarged that would not be otherwise. Its edges are rounded to whole pixels
      of that size.

    ``scaled`` changes pixels where the box has at least twice the output's size: mmcv's bilinear interpolation skips
    pixels there, which a JPEG at a fraction of its size has averaged.

    Files that :func:`read_header` gives nothing for, such as PNG, greyscale, CMYK and turned ones, are decoded in
    full by ``LoadImageFromFile``; damaged ones too, so that the error is mmcv's.

    Needs ``img_path``; sets ``img``, ``img_shape`` and ``ori_shape`` (of the whole image) as the two do.

    Args:
        scale: (height, width) of the output in pixels, or the side of a square.
        scaled: False: the same pixels as without this transform.
        backend_args: of the file, as of ``LoadImageFromFile``.
        kwargs: ``crop_ratio_range``, ``aspect_ratio_range``, ``max_attempts``, ``interpolation`` and ``backend`` of
            mmpretrain's ``RandomResizedCrop``.
    """

    def __init__(self, scale: Any, *, scaled: bool = True, backend_args: Mapping[str, Any] | None = None,
                 **kwargs: Any) -> None:
        super().__init__(scale, **kwargs)
        self.scaled = scaled
        self.load = LoadImageFromFile(backend_args=backend_args)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read, draw, decode, crop, resize."""
        content = _read(results['img_path'], self.load.backend_args)
        header = read_header(content)
        if header is None:
            return super().transform(self.load(results))
        box = self.rand_crop_params(SimpleNamespace(shape=(header.height, header.width)))  # it reads the shape only
        denominator = self.denominator(*box[2:])
        image = decode_part(content, header, box[0] + box[2], denominator)
        if image is None:
            image, denominator = self.load(results)['img'], 1
        top, left, bottom, right = scaled_box(box, denominator)
        image = mmcv.imresize(image[top:bottom, left:right], tuple(self.scale[::-1]),
                              interpolation=self.interpolation, backend=self.backend)
        results.update(img=image, img_shape=image.shape, ori_shape=(header.height, header.width))
        return results

    def denominator(self, height: int, width: int) -> int:
        """The largest of 1, 2 and 4 that leaves a box at least the output's size; 1 unless ``scaled``."""
        room = min(height / self.scale[0], width / self.scale[1]) if self.scaled else 1
        return max(each for each in DENOMINATORS if each == 1 or each <= room)

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, scaled={self.scaled})'


def scaled_box(box: tuple[int, int, int, int], denominator: int) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of a box (top, left, height, width) in an image at ``1 / denominator`` of its size.

    Each is rounded to the nearest pixel, halves upwards, so that a side is never less than the whole pixels in it.

    >>> scaled_box((3, 0, 448, 450), 2)
    (2, 0, 226, 225)
    """
    y, x, height, width = box
    top, left, bottom, right = ((2 * edge + denominator) // (2 * denominator)
                                for edge in (y, x, y + height, x + width))
    return top, left, bottom, right


def _read(path: str, backend_args: Mapping[str, Any] | None) -> bytes:
    if backend_args is not None or '://' in path:
        return fileio.get(path, backend_args=backend_args)
    with open(path, 'rb') as file:  # what mmengine does too, after a search for the backend that takes as long
        return file.read()
