"""What `SoftLabelMonitorHook` has added up: since its last line in the log, in each epoch, and of each sample."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from wsld_plugin.analysis.regularization import Summary, add, empty, summarize

SAMPLE_COUNTS = ('seen', 'regularization_label', 'regularization_row')


class SoftLabelCounts:
    """Sums over measures that were read from the device.

    ``since_log`` and the values of ``epochs``, by the epoch's number, are summaries of
    :mod:`wsld_plugin.analysis.regularization`; ``samples`` are the `SAMPLE_COUNTS`, (3, size) int32, None where no
    sample had a key.

    Args:
        size: samples of the training set.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.since_log = empty()
        self.epochs: dict[int, Summary] = {}
        self.samples: np.ndarray | None = None

    def add(self, measures: np.ndarray, places: np.ndarray, epochs: np.ndarray) -> None:
        """Add measures (8, N) of the samples at these places of the training set, -1 where that is not known.

        Args:
            measures: (8, N), see :func:`wsld_plugin.analysis.regularization.sample_measures`.
            places: (N,).
            epochs: (N,), of each sample.
        """
        for epoch in np.unique(epochs).tolist():
            summary = summarize(measures[:, epochs == epoch])
            self.since_log = add(self.since_log, summary)
            self.epochs[epoch] = add(self.epochs.get(epoch, empty()), summary)
        counted = (places >= 0) & np.isfinite(measures).all(0)
        if counted.any():
            if self.samples is None:
                self.samples = np.zeros((len(SAMPLE_COUNTS), self.size), np.int32)
            for counts, flags in zip(self.samples, (np.ones(len(places)), *measures[:2]), strict=True):
                np.add.at(counts, places[counted], flags[counted].astype(np.int32))

    def state_dict(self) -> dict[str, Any]:
        """All of it as tensors."""
        state: dict[str, Any] = dict(since_log=_tensors(self.since_log),
                                     epochs={epoch: _tensors(summary) for epoch, summary in self.epochs.items()})
        return state if self.samples is None else dict(state, samples=torch.from_numpy(self.samples))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.since_log = _arrays(state['since_log'])
        self.epochs = {epoch: _arrays(summary) for epoch, summary in state['epochs'].items()}
        if 'samples' in state:
            self.samples = state['samples'].cpu().numpy().copy()


def _tensors(summary: Summary) -> dict[str, torch.Tensor]:
    return {key: torch.as_tensor(value) for key, value in summary.items()}


def _arrays(summary: Mapping[str, torch.Tensor]) -> Summary:
    return {key: value.cpu().numpy() for key, value in summary.items()}
