"""What the soft labels do to the student, live."""
from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from wsld_plugin.analysis.regularization import BINS, MEASURES, describe, empty
from wsld_plugin.engine.atomic import write_atomically
from wsld_plugin.engine.graph import CapturedStep
from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import HOOKS

from .loss_probe import LossProbe
from .soft_label_counts import SAMPLE_COUNTS, SoftLabelCounts

FOLDER = 'soft_label_monitor'

_STATE = 'soft_label_monitor'
_BINS_IN_FILE = 50


@HOOKS.register_module()
class SoftLabelMonitorHook(Hook):
    """Tell how many samples are regularization samples, WSLD's weights, and both parts of the gradient.

    It looks at what a distillation loss is given, whatever teacher, connector or loss that is, and changes nothing.
    The measures are those of :func:`wsld_plugin.analysis.regularization.sample_measures` at the loss's ``tau``. They
    stay on the device until the logger logs; then all ranks share theirs.

    - ``soft_labels/…`` in the log and its backends: means since the last line, quantiles of the weights.
    - ``soft_label_monitor/epochs.json`` in the run's folder: a list with the same of each epoch, and a histogram of
      the weights. The backends have them as ``soft_labels_epoch/…``, TensorBoard the histogram too.
    - ``soft_label_monitor/samples.npz``, where samples have a ``sample_key``: how often each sample of the training
      set was ``seen``, was a ``regularization_label`` and a ``regularization_row`` sample, int32 arrays by its index;
      ``epoch``, after which it was written.

    Both files are written at the end of an epoch, but not before ``interval`` iterations have passed since the last
    time, and at the end of the training. A resumed run goes on exactly.

    A sample with a measure that is not finite is left out and counted as ``left_out``. Idle while distillation is
    stopped. Where the loss has another ``student_tau``, the measures still take ``tau`` for both.

    Args:
        loss: which of ``distill_losses``, by its name; None: the first on logits.
        every: look at each k-th iteration only, where even a small cost is too much. Samples are then counted where
            they were looked at.
        interval: iterations between two readings; default: the ``LoggerHook``'s.

    Raises:
        ConfigError: before the first step, where there is no such loss, or no target to be found.
    """

    priority = 'NORMAL'  # before the logger and the checkpoint

    def __init__(self, loss: str | None = None, every: int = 1, interval: int | None = None) -> None:
        for name, value in (('every', every), ('interval', 1 if interval is None else interval)):
            if type(value) is not int or value < 1:
                raise ConfigError(f'SoftLabelMonitorHook: {name} is {value!r}, but a number of iterations from 1 up '
                                  'is expected.')
        self.loss = loss
        self.every = every
        self.interval = interval
        self._waiting: list[tuple[Tensor, np.ndarray]] = []
        self._epochs: list[dict[str, Any]] = []
        self._written = 0  # iteration
        self._restored: Mapping[str, Any] | None = None

    def before_train(self, runner: Runner) -> None:
        """Find the loss; go on where a resumed run was."""
        if self.interval is None:
            self.interval = next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), 10)
        # a checkpoint by iterations may come between two lines of the log
        saving = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook) and not hook.by_epoch)
        self._save_intervals = [hook.interval for hook in saving]
        dataset = runner.train_dataloader.dataset
        dataset = getattr(dataset, '_dataset', dataset)  # mmengine's, for num_batch_per_epoch
        self._counts = SoftLabelCounts(len(dataset))
        if runner.iter and self._restored:  # an iteration tells a resumed run from one that only loads weights
            self._counts.load_state_dict(self._restored)
            self._epochs = json.loads(self._restored['epochs'])
        self._probe = LossProbe(runner.model.module if is_model_wrapper(runner.model) else runner.model, self.loss)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """See whether it is this iteration's turn."""
        self._probe.on = runner.iter % self.every == 0
        self._probe.follow()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict[str, Tensor] | None = None) -> None:
        """Keep what was measured; read now and then."""
        if self._probe.on:
            self._keep(data_batch, isinstance(vars(runner.model).get('train_step'), CapturedStep))
        ends, last = (runner.iter + 1) % len(runner.train_dataloader) == 0, self.is_last_train_iter(runner)
        logs = ends or last or self.every_n_inner_iters(batch_idx, self.interval)
        if logs or any(self.every_n_train_iters(runner, interval) for interval in self._save_intervals):
            self._read()
        if logs:
            self._log(runner)
        if ends:
            self._end_epoch(runner)
        # where epochs are short, waiting for the disk after each would take longer than the steps
        if last or (ends and runner.iter + 1 - self._written >= self.interval):
            self._write(runner)

    def after_train(self, runner: Runner) -> None:
        """Look away."""
        self._probe.close()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Let a resumed run count on."""
        if self._waiting and get_world_size() == 1:  # of several ranks only one is here, and all have just read
            self._read()
        checkpoint[_STATE] = dict(self._counts.state_dict(), epochs=json.dumps(self._epochs))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep what a resumed run goes on from."""
        self._restored = checkpoint.get(_STATE)

    def _keep(self, data_batch: Any, replayed: bool) -> None:
        measures = self._probe.taken_by_replay(len(data_batch.numbers)) if replayed else self._probe.take()
        if measures is not None:
            self._waiting.append((measures, _places(data_batch, measures.shape[1])))

    def _read(self) -> None:
        waiting, self._waiting = self._waiting, []
        mine = (torch.cat([measures for measures, _ in waiting], 1).cpu().numpy(),
                np.concatenate([places for _, places in waiting])) if waiting else None
        everyone = [given for given in all_gather_object(mine) if given is not None]
        if everyone:
            measures, places = (np.concatenate(parts, -1) for parts in zip(*everyone, strict=True))
            self._counts.add(measures, places)

    def _log(self, runner: Runner) -> None:
        summary, self._counts.since_log = self._counts.since_log, empty()
        if summary['left_out']:
            runner.logger.warning(f'SoftLabelMonitorHook: {summary["left_out"]} samples are left out: a logit or a '
                                  'cross entropy of theirs is not finite.')
        values = {f'train/soft_labels/{name}': value for name, value in describe(summary).items()}
        scalars = runner.message_hub.log_scalars
        if not values:  # the log would repeat the last ones for ever
            for name in [name for name in scalars if name.startswith('train/soft_labels/')]:
                scalars.pop(name)
        runner.message_hub.update_scalars(values, resumed=False)

    def _end_epoch(self, runner: Runner) -> None:
        summary, self._counts.in_epoch = self._counts.in_epoch, empty()
        if summary['count']:
            self._epochs.append(self._record(runner, summary))
            epoch = self._epochs[-1]['epoch']
            runner.visualizer.add_scalars({f'soft_labels_epoch/{name}': value
                                           for name, value in describe(summary).items()}, step=epoch)
            if is_main_process():
                _add_histogram(runner.visualizer.get_backend('TensorboardVisBackend'), summary, epoch)

    def _record(self, runner: Runner, summary: Mapping[str, Any]) -> dict[str, Any]:
        return dict(epoch=runner.iter // len(runner.train_dataloader) + 1, loss=self._probe.name, tau=self._probe.tau,
                    every=self.every, count=int(summary['count']), left_out=int(summary['left_out']),
                    **describe(summary),
                    weight_histogram=summary['histogram'].reshape(_BINS_IN_FILE, -1).sum(1).tolist())

    def _write(self, runner: Runner) -> None:
        self._written = runner.iter + 1
        epochs = list(self._epochs)
        if self._counts.in_epoch['count']:  # the training ends in the middle of one, and may be continued there
            epochs.append(self._record(runner, self._counts.in_epoch))
        if not epochs or not is_main_process():
            return
        folder = Path(runner.work_dir) / FOLDER
        write_atomically(folder / 'epochs.json', json.dumps(epochs).encode())
        if self._counts.samples is not None:
            buffer = io.BytesIO()
            np.savez(buffer, epoch=epochs[-1]['epoch'], **dict(zip(SAMPLE_COUNTS, self._counts.samples, strict=True)))
            write_atomically(folder / 'samples.npz', buffer.getvalue())


def _places(data_batch: Any, n: int) -> np.ndarray:
    """The places of a batch's samples in the training set, (N,), -1 where that is not known."""
    if hasattr(data_batch, 'keys_of_samples'):  # asking resident data for its samples would compute them
        keys: Sequence[Any] = data_batch.keys_of_samples or [None] * n
    else:
        samples = data_batch.get('data_samples') if isinstance(data_batch, Mapping) else None
        keys = [getattr(sample, 'sample_key', None) for sample in samples or [None] * n]
    return np.array([-1 if key is None else key.index for key in keys])


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
