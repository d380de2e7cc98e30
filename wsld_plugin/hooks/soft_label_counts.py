"""What `SoftLabelMonitorHook` has added up: since the last line of the log, in the epoch, and of each sample."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from wsld_plugin.analysis.regularization import add, empty, summarize

SAMPLE_COUNTS = ('seen', 'regularization_label', 'regularization_row')


class SoftLabelCounts:
    """Sums over measures that were read from the device.

    ``since_log`` and ``in_epoch`` are summaries of :mod:`wsld_plugin.analysis.regularization`; ``samples`` are the
    `SAMPLE_COUNTS`, (3, size) int32, None where no sample had a key.

    Args:
        size: samples of the training set.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.since_log, self.in_epoch = empty(), empty()
        self.samples: np.ndarray | None = None

    def add(self, measures: np.ndarray, places: np.ndarray) -> None:
        """Add measures (8, N) of the samples at these places (N,) of the training set, -1 where that is not known."""
        summary = summarize(measures)
        self.since_log, self.in_epoch = add(self.since_log, summary), add(self.in_epoch, summary)
        counted = (places >= 0) & np.isfinite(measures).all(0)
        if counted.any():
            if self.samples is None:
                self.samples = np.zeros((len(SAMPLE_COUNTS), self.size), np.int32)
            for counts, flags in zip(self.samples, (np.ones(len(places)), *measures[:2]), strict=True):
                np.add.at(counts, places[counted], flags[counted].astype(np.int32))

    def state_dict(self) -> dict[str, Any]:
        """All of it as tensors."""
        state: dict[str, Any] = {part: {key: torch.as_tensor(value) for key, value in getattr(self, part).items()}
                                 for part in ('since_log', 'in_epoch')}
        return state if self.samples is None else dict(state, samples=torch.from_numpy(self.samples))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.since_log, self.in_epoch = ({key: value.cpu().numpy() for key, value in state[part].items()}
                                         for part in ('since_log', 'in_epoch'))
        if 'samples' in state:
            self.samples = state['samples'].cpu().numpy().copy()
