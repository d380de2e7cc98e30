"""Images inside a page."""
from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

_LARGEST = 192  # pixels of the longer side: enough for the size at which they are shown


def data_uri(image: np.ndarray) -> str:
    """A uint8 image, (H, W) or (H, W, 3) in RGB, as a PNG in a ``data:`` address; large ones are scaled down."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((_LARGEST, _LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, 'PNG', optimize=True)
    return 'data:image/png;base64,' + base64.b64encode(buffer.getvalue()).decode()
