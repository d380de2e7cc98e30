"""What the soft labels do to the student, live."""
from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor

from wsld_plugin.analysis.regularization import describe, empty
from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import HOOKS

from .given_batches import GivenBatches, places_of
from .loss_probe import LossProbe
from .soft_label_counts import SoftLabelCounts
from .soft_label_epochs import SoftLabelEpochs

_STATE = 'soft_label_monitor'
_SECONDS = 10.0  # between two writings: each waits for the disk


@HOOKS.register_module()
class SoftLabelMonitorHook(Hook):
    """Tell how many samples are regularization samples, WSLD's weights, and both parts of the gradient.

    It looks at what a distillation loss is given, whatever teacher, connector or loss that is, and changes nothing.
    The logits are copied, and stay on the device until the logger logs. Then they are measured, all at once, by
    :func:`wsld_plugin.analysis.regularization.sample_measures` at the loss's ``tau``, and all ranks share theirs.

    - ``soft_labels/…`` in the log and its backends: means since its last line, quantiles of the weights.
    - ``soft_label_monitor/epochs.json`` in the run's folder: a list with the same of each epoch, and a histogram of
      the weights. The backends have them as ``soft_labels_epoch/…``, TensorBoard the histogram too.
    - ``soft_label_monitor/samples.npz``, where samples have a ``sample_key``: how often each sample of the training
      set was ``seen``, was a ``regularization_label`` and a ``regularization_row`` sample, int32 arrays by its index;
      ``epoch``, after which it was written.

    Both files are written at the end of the training, and before at the end of an epoch, ten seconds or more after
    the last time. Epochs that are shorter than ``interval`` iterations are told several at a time, after that many;
    lines of the log between have no such values. A resumed run goes on exactly.

    A sample with a hidden label (-100) or a measure that is not finite is left out and counted as ``left_out``.
    Idle while distillation is stopped. Where the loss has another ``student_tau``, the measures still take ``tau``
    for both.

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
        self._waiting = GivenBatches()
        self._told = False
        self._written = time.monotonic()
        self._restored: Mapping[str, Any] | None = None

    def before_train(self, runner: Runner) -> None:
        """Find the loss; go on where a resumed run was."""
        if self.interval is None:
            self.interval = next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), 10)
        # a checkpoint by iterations may come between two lines of the log, and so may that of the best score
        saving = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook) and not hook.by_epoch)
        self._save_intervals = [hook.interval for hook in saving]
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            self._save_intervals.append(runner.train_loop.val_interval)
        dataset = runner.train_dataloader.dataset
        dataset = getattr(dataset, '_dataset', dataset)  # mmengine's, for num_batch_per_epoch
        self._counts = SoftLabelCounts(len(dataset))
        self._probe = LossProbe(runner.model.module if is_model_wrapper(runner.model) else runner.model, self.loss)
        records = '[]'
        if runner.iter and self._restored:  # an iteration tells a resumed run from one that only loads weights
            self._counts.load_state_dict(self._restored)
            records = self._restored['records']
        self._epochs = SoftLabelEpochs(self._probe, self.every, records)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look where it is this iteration's turn."""
        self._probe.on = self.is_turn(runner)
        self._probe.follow()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict[str, Tensor] | None = None) -> None:
        """Keep what the loss was given; measure now and then."""
        if self.is_turn(runner):
            # from 1, also where the training counts iterations
            self._keep(data_batch, runner.iter // len(runner.train_dataloader) + 1, False)
        length, done = len(runner.train_dataloader), runner.iter + 1
        ends, last = done % length == 0, self.is_last_train_iter(runner)
        # of several ranks all must have read before one of them saves
        saves = (ends and get_world_size() > 1) or any(
            self.every_n_train_iters(runner, interval) for interval in self._save_intervals)
        # epochs that are shorter than the interval are told together
        tells = (last or self.every_n_inner_iters(batch_idx, self.interval)
                 or (ends and done // self.interval > (done - length) // self.interval))
        if tells or saves:
            self._read()
        if tells:
            self._tell(runner, done // length)
        elif ends:
            _forget_line(runner)

    def is_turn(self, runner: Runner) -> bool:
        """Whether this iteration is looked at."""
        return runner.iter % self.every == 0

    def after_train(self, runner: Runner) -> None:
        """Look away."""
        self._probe.close()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Let a resumed run count on."""
        if self._waiting and get_world_size() == 1:  # of several ranks only one is here, and all have just read
            self._read()
        checkpoint[_STATE] = dict(self._counts.state_dict(), records=self._epochs.dumps())

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep what a resumed run goes on from."""
        self._restored = checkpoint.get(_STATE)

    def _keep(self, data_batch: Any, epoch: int, replayed: bool) -> None:
        batch = self._probe.taken_by_replay(len(data_batch.numbers)) if replayed else self._probe.take()
        if batch is not None:
            self._waiting.add(batch, places_of(data_batch, batch.logits.shape[1]), epoch)

    def _read(self) -> None:
        everyone = [given for given in all_gather_object(self._waiting.read()) if given is not None]
        if everyone:
            measures, (places, epochs) = (np.concatenate(parts, -1) for parts in zip(*everyone, strict=True))
            self._counts.add(measures, places, epochs)

    def _tell(self, runner: Runner, ended: int) -> None:
        """A line of the log, the epochs until this one, and, at the end of one or of the training, the files."""
        summary, self._counts.since_log = self._counts.since_log, empty()
        if summary['left_out'] and not self._told:
            self._told = True
            runner.logger.warning(f'SoftLabelMonitorHook: {summary["left_out"]} samples are left out since the last '
                                  'line: their label is hidden, or a logit or a cross entropy of theirs is not '
                                  'finite. This is told once; epochs.json has the number of each epoch.')
        values = {f'train/soft_labels/{name}': value for name, value in describe(summary).items()}
        if values:
            runner.message_hub.update_scalars(values, resumed=False)
        else:
            _forget_line(runner)
        for epoch in [epoch for epoch in self._counts.epochs if epoch <= ended]:
            self._epochs.end(epoch, self._counts.epochs.pop(epoch), runner.visualizer)
        last, ends = self.is_last_train_iter(runner), (runner.iter + 1) % len(runner.train_dataloader) == 0
        if last or (ends and time.monotonic() - self._written >= _SECONDS):
            self._epochs.write(runner.work_dir, self._counts.epochs, self._counts.samples)
            self._written = time.monotonic()


def _forget_line(runner: Runner) -> None:
    """Nothing is new: the log would repeat the last values."""
    scalars = runner.message_hub.log_scalars
    for name in [name for name in scalars if name.startswith('train/soft_labels/')]:
        scalars.pop(name)
