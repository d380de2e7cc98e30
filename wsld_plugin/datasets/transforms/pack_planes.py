"""From the pixels of an image to planes of a tensor."""
from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from mmpretrain.datasets import PackInputs

from wsld_plugin.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackPlanes(PackInputs):
    """mmpretrain's ``PackInputs``, equal in everything it gives, with the channels parted by OpenCV.

    ``inputs`` is the image (H, W, C) as a contiguous tensor (C, H, W) of the same values. uint8 and float32 images of
    2 to 4 channels are parted by OpenCV, which does it in a tenth of the time; what else ``PackInputs`` takes is left
    to it.
    """

    @staticmethod
    def format_input(image: Any) -> Any:
        """The image as ``inputs``."""
        if not (isinstance(image, np.ndarray) and image.ndim == 3 and 2 <= image.shape[2] <= 4
                and image.dtype in (np.uint8, np.float32)):
            return PackInputs.format_input(image)
        if image.strides[1] < 0:  # RandomFlip only turns the view; OpenCV is quicker to turn the pixels
            image = cv2.flip(image[:, ::-1], 1)
        planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
        cv2.split(image, list(planes))
        return torch.from_numpy(planes)
