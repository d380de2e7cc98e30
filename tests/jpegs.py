"""JPEGs to decode."""
from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

SAMPLINGS = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
             cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
             cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]


def picture(height: int, width: int, noise: float = 8.0, seed: int = 0) -> np.ndarray:
    """Slow waves in three colours, (H, W, 3) uint8, with Gaussian noise of so many grey levels."""
    y, x = np.mgrid[:height, :width] / 90
    waves = 128 + 90 * np.stack([np.sin(x + y), np.cos(x - 2 * y), np.sin(y + 2 * x)], -1)
    return np.clip(waves + np.random.default_rng(seed).normal(0, noise, waves.shape), 0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, *options: int) -> bytes:
    """The image as a JPEG; options are those of OpenCV's ``imencode``."""
    return cv2.imencode('.jpg', image, options)[1].tobytes()


def pillow_jpeg(mode: str, height: int, width: int) -> bytes:
    """A JPEG that holds its channels as they are: 'RGB' without a change to luminance and colours, or 'CMYK'."""
    with io.BytesIO() as file:
        Image.fromarray(picture(height, width)).convert(mode).save(file, 'JPEG', keep_rgb=True)
        return file.getvalue()


def with_exif(content: bytes, orientation: int, order: str = 'II') -> bytes:
    """The JPEG with an EXIF segment that tells an orientation; ``order`` 'II' or 'MM', else unreadable."""
    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, 'big' if order == 'MM' else 'little')

    entry = number(0x0112, 2) + number(3, 2) + number(1, 4) + number(orientation, 2) + b'\0\0'
    segment = b'Exif\0\0' + order.encode() + number(42, 2) + number(8, 4) + number(1, 2) + entry + number(0, 4)
    return content[:2] + b'\xff\xe1' + (len(segment) + 2).to_bytes(2, 'big') + segment + content[2:]


def decoded(content: bytes) -> np.ndarray:
    """In full, by OpenCV."""
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
