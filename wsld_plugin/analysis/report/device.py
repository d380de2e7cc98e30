"""The device that a teacher runs on."""
from __future__ import annotations

import torch
from mmengine.device import get_device

from wsld_plugin.errors import ConfigError


def find_device(name: str | None) -> str:
    """The device of this name; None: the best there is.

    Raises:
        ConfigError: there is none, with those that there are.
    """
    if name is None:
        return get_device()
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:  # in this order: no such kind, not in this torch
        there = dict.fromkeys(['cpu', *(f'cuda:{place}' for place in range(torch.cuda.device_count())), get_device()])
        why = str(error).split('. ')[0].split('\n')[0]
        raise ConfigError(f'device={name!r} cannot be used here ({why}): expected one of {", ".join(there)}.'
                          ) from error
    return name
