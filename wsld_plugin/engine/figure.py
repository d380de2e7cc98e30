"""Pictures that are there whole or not at all."""
from __future__ import annotations

import io
from pathlib import Path

import matplotlib
from matplotlib import pyplot
from matplotlib.figure import Figure

from .atomic import write_atomically

matplotlib.use('Agg')  # no screen is needed


def save_figure(figure: Figure, path: str | Path, dpi: int = 140) -> None:
    """Write a figure of pyplot as a PNG, see :func:`write_atomically`, and close it.

    Args:
        figure: with its size in inches.
        path: the file; missing folders are made.
        dpi: pixels an inch.

    Raises:
        OSError: it cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=dpi)
    pyplot.close(figure)
    write_atomically(path, buffer.getvalue())
