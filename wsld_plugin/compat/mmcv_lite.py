"""Cause: mmcv-lite, and mmcv built without its operators, warn at import that a detector's attention is
missing. Nothing in classification uses it, and the warning would be the first line of every run.

Idle where mmcv has its operators.
"""
from __future__ import annotations

import warnings


def apply() -> None:
    """Import the module that warns, without its warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``', UserWarning)
        import mmcv.cnn.bricks.transformer  # noqa: F401
