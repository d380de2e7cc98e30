"""What `SoftLabelMonitorHook` wrote of a run, read again."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from wsld_plugin.errors import ConfigError

Epochs = list[dict[str, Any]]

_NUMBERS = ('epoch', 'tau', 'regularization_label', 'regularization_row')


def read_epochs(run: str | Path) -> Epochs:
    """What the hook wrote of each epoch into a run's folder, at least one.

    Raises:
        ConfigError: nothing, or something else.
    """
    path = Path(run) / 'soft_label_monitor/epochs.json'
    if not path.is_file():
        raise ConfigError(f'{path} does not exist: train with '
                          "custom_hooks=[dict(type='wsld_plugin.SoftLabelMonitorHook')] and name the run's folder.")
    try:
        epochs = json.loads(path.read_text())
    except (ValueError, RecursionError):
        epochs = None
    if not isinstance(epochs, list) or not epochs or not all(map(_is_record, epochs)):
        raise ConfigError(f'{path} is damaged or empty: expected the list of epochs that SoftLabelMonitorHook '
                          f'writes, each with {", ".join(_NUMBERS)} and weight_histogram. Train again, or leave this '
                          'run out.')
    return epochs


def _is_record(epoch: Any) -> bool:
    return (isinstance(epoch, dict) and all(_is_number(epoch.get(name)) for name in _NUMBERS)
            and isinstance(epoch.get('weight_histogram'), list) and all(map(_is_number, epoch['weight_histogram']))
            and sum(epoch['weight_histogram']) > 0)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value))
