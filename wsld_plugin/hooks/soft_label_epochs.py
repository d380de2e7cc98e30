"""What `SoftLabelMonitorHook` tells of whole epochs: a file, the backends and TensorBoard's histogram."""
from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.visualization import Visualizer

from wsld_plugin.analysis.regularization import BINS, MEASURES, describe
from wsld_plugin.files import write_atomically

from .loss_probe import LossProbe
from .soft_label_counts import SAMPLE_COUNTS

FOLDER = 'soft_label_monitor'

_BINS_IN_FILE = 50


class SoftLabelEpochs:
    """A record of each epoch.

    Args:
        probe: of the loss.
        every: how many iterations there are to each that is looked at.
        records: of the epochs before a run was resumed.
    """

    def __init__(self, probe: LossProbe, every: int, records: str = '[]') -> None:
        self._probe = probe
        self._every = every
        self._records: list[dict[str, Any]] = json.loads(records)

    def dumps(self) -> str:
        """The records, for another one to go on from."""
        return json.dumps(self._records)

    def end(self, epoch: int, summary: Mapping[str, Any], visualizer: Visualizer) -> None:
        """An epoch ended: keep its record and show it. Nothing for one of which every sample was left out."""
        if not summary['count']:
            return
        self._records.append(self._record(epoch, summary))
        described = describe(summary)
        visualizer.add_scalars({f'soft_labels_epoch/{name}': value for name, value in described.items()}, step=epoch)
        if is_main_process():
            _add_histogram(visualizer.get_backend('TensorboardVisBackend'), summary, epoch)

    def write(self, work_dir: str, unfinished: Mapping[int, Mapping[str, Any]], samples: np.ndarray | None) -> None:
        """Write the files of :class:`wsld_plugin.SoftLabelMonitorHook`, on the main process.

        Args:
            work_dir: of the run.
            unfinished: summaries by epoch, where the training ends in the middle of one and may be continued there.
            samples: counts (3, size) of the samples, None without keys.
        """
        records = self._records + [self._record(*each) for each in unfinished.items() if each[1]['count']]
        if not records or not is_main_process():
            return
        folder = Path(work_dir) / FOLDER
        write_atomically(folder / 'epochs.json', json.dumps(records).encode())
        if samples is not None:
            buffer = io.BytesIO()
            np.savez(buffer, epoch=records[-1]['epoch'], **dict(zip(SAMPLE_COUNTS, samples, strict=True)))
            write_atomically(folder / 'samples.npz', buffer.getvalue())

    def _record(self, epoch: int, summary: Mapping[str, Any]) -> dict[str, Any]:
        return dict(epoch=epoch, loss=self._probe.name, tau=self._probe.loss.tau, every=self._every,
                    count=int(summary['count']), left_out=int(summary['left_out']), **describe(summary),
                    weight_histogram=summary['histogram'].reshape(_BINS_IN_FILE, -1).sum(1).tolist())


def _add_histogram(backend: Any, summary: Mapping[str, Any], epoch: int) -> None:
    """The weights', for TensorBoard; the other backends of mmengine have no histograms."""
    if backend is None:
        return
    counts, total = summary['histogram'], float(summary['sums'][MEASURES.index('weight')])
    edges = np.arange(1, BINS + 1) / BINS
    backend.experiment.add_histogram_raw(
        'soft_labels_epoch/weights', min=0.0, max=1.0, num=int(counts.sum()), sum=total,
        sum_squares=float(counts @ (edges - 0.5 / BINS)**2), bucket_limits=edges.tolist(),
        bucket_counts=counts.tolist(), global_step=epoch)
