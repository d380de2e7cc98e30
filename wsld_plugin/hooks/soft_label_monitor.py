"""Live measures of what the soft labels do to the student."""
from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor, nn

from wsld_plugin.analysis.regularization import BINS, MEASURES, SIZE, describe, sample_measures, summarize
from wsld_plugin.errors import ConfigError, check_choice, check_integer
from wsld_plugin.files import write_atomically
from wsld_plugin.registry import HOOKS

from .runtime import add_scalars

_STATE = FOLDER = 'soft_label_monitor'
_BINS_IN_FILE = 50
# The arguments of a loss on logits: this project's name and MMRazor's.
_LOGITS = (('student', 'preds_S'), ('teacher', 'preds_T'))


@HOOKS.register_module()
class SoftLabelMonitorHook(Hook):
    """Log the fraction of regularization samples, WSLD's weights, and the norms of both parts of the gradient.

    The hook measures the arguments of a distillation loss, for any teacher, connector or loss: the measures of
    :func:`wsld_plugin.analysis.regularization.sample_measures` at the loss's ``tau``. They are summed on the device;
    the sums are read, and added up over the ranks, when the logger logs and at the end of an epoch.

    - ``soft_labels/…`` in the log and its backends: means since the last line, and quantiles of the weights.
    - ``soft_label_monitor/epochs.json`` in the run's folder: a list with the same for each epoch, and a histogram of
      the weights, written at the end of each epoch and of the training. The backends log it as
      ``soft_labels_epoch/…``, TensorBoard with the histogram.

    A resumed run continues the sums exactly. Samples with a hidden label (-100) or a measure that is not finite are
    skipped and counted as ``left_out``. The hook is idle while distillation is stopped. If the loss has another
    ``student_tau``, the measures still use ``tau`` for both.

    Args:
        loss: the name of one of ``distill_losses``; None: the first on logits.
        every: measure only every n-th iteration, for a smaller cost.

    Raises:
        ConfigError: a setting is out of range; before the first step, if there is no such loss, or no target.
    """

    priority = 'NORMAL'  # before the logger and the checkpoint

    def __init__(self, loss: str | None = None, every: int = 1) -> None:
        check_integer('SoftLabelMonitorHook: every', every, 1)
        self.loss, self.every = loss, every
        self._sums: Tensor | None = None  # on the device, since the last reading
        self._line, self._epoch = _empty(), _empty()  # since the last line of the log; of this epoch
        self._records: list[dict[str, Any]] = []
        self._restored: Mapping[str, Any] | None = None
        self._warned = False

    def before_train(self, runner: Runner) -> None:
        """Find the loss, and restore the sums of a resumed run."""
        self._logger = next((hook for hook in runner.hooks if isinstance(hook, LoggerHook)), LoggerHook())
        # checkpoints that may be saved between two lines of the log: by iterations, and of the best score
        saving = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook) and not hook.by_epoch)
        self._save_intervals = [hook.interval for hook in saving]
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            self._save_intervals.append(runner.train_loop.val_interval)
        self._probe = LossProbe(runner.model.module if is_model_wrapper(runner.model) else runner.model, self.loss,
                                self._measure)
        if runner.iter and self._restored:  # at iteration 0 only the weights were loaded
            self._line, self._epoch = (self._restored[name].cpu().clone() for name in ('line', 'epoch'))
            self._records = json.loads(self._restored['records'])

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Switch the probe on in every n-th iteration."""
        self._probe.on = runner.iter % self.every == 0
        self._probe.follow()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict[str, Tensor] | None = None) -> None:
        """Read the sums, log them and record the epoch, when each is due."""
        self._probe.on = False
        length, done = len(runner.train_dataloader), runner.iter + 1
        ends, last = done % length == 0, self.is_last_train_iter(runner)
        # as LoggerHook decides
        logs = self.every_n_inner_iters(batch_idx, self._logger.interval) or (
            self.end_of_epoch(runner.train_dataloader, batch_idx)
            and (not self._logger.ignore_last or length <= self._logger.interval))
        # all ranks must read before one of them saves
        saves = any(self.every_n_train_iters(runner, interval) for interval in self._save_intervals)
        if logs or ends or last or saves:
            self._read()
        if logs:
            self._log(runner)
        if ends:
            self._end_epoch(runner, done // length)
        if ends or last:
            self._write(runner, done // length + 1)

    def after_train(self, runner: Runner) -> None:
        """Remove the hooks of the loss."""
        self._probe.close()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save the sums, from which a resumed run continues."""
        if get_world_size() == 1:  # this is called on one rank only
            self._read()
        checkpoint[_STATE] = dict(line=self._line, epoch=self._epoch, records=json.dumps(self._records))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the sums until it is known whether the run is resumed."""
        self._restored = checkpoint.get(_STATE)

    def _measure(self, student: Tensor, teacher: Tensor, target: Tensor, teacher_ce: Tensor | None) -> None:
        with torch.autocast(student.device.type, enabled=False):
            summary = summarize(sample_measures(student, teacher, target, self._probe.loss.tau, teacher_ce))
        self._sums = summary if self._sums is None else self._sums + summary

    def _read(self) -> None:
        sums, self._sums = _empty() if self._sums is None else self._sums, None
        all_reduce(sums)
        sums = sums.cpu().double()
        self._line, self._epoch = self._line + sums, self._epoch + sums

    def _log(self, runner: Runner) -> None:
        line, self._line = self._line, _empty()
        if line[1] and not self._warned:
            self._warned = True
            runner.logger.warning(f'SoftLabelMonitorHook: {line[1]:.0f} samples were skipped since the last line: '
                                  'their label is hidden, or a logit or a cross entropy is not finite. This warning '
                                  'is not repeated; epochs.json has the number of each epoch as left_out.')
        values = {f'train/soft_labels/{name}': value for name, value in describe(line).items()}
        if not values:  # the log would repeat the last values
            for name in [name for name in runner.message_hub.log_scalars if name.startswith('train/soft_labels/')]:
                runner.message_hub.log_scalars.pop(name)
        runner.message_hub.update_scalars(values, resumed=False)

    def _end_epoch(self, runner: Runner, epoch: int) -> None:
        summary, self._epoch = self._epoch, _empty()
        if not summary[0]:
            return
        self._records.append(self._record(epoch, summary))
        add_scalars(runner, {f'soft_labels_epoch/{name}': value for name, value in describe(summary).items()}, epoch)
        backend = runner.visualizer.get_backend('TensorboardVisBackend')
        if is_main_process() and backend is not None:  # mmengine's other backends have no histograms
            counts, edges = summary[-BINS:].numpy(), np.arange(1, BINS + 1) / BINS
            backend.experiment.add_histogram_raw(
                'soft_labels_epoch/weights', min=0.0, max=1.0, num=int(counts.sum()),
                sum=float(summary[2 + MEASURES.index('weight')]), sum_squares=float(counts @ (edges - 0.5 / BINS)**2),
                bucket_limits=edges.tolist(), bucket_counts=counts.tolist(), global_step=epoch)

    def _write(self, runner: Runner, epoch: int) -> None:
        """Write the records, with that of the unfinished epoch, which a resumed run continues."""
        records = self._records + ([self._record(epoch, self._epoch)] if self._epoch[0] else [])
        if records and is_main_process():
            write_atomically(Path(runner.work_dir) / FOLDER / 'epochs.json', json.dumps(records).encode())

    def _record(self, epoch: int, summary: Tensor) -> dict[str, Any]:
        return dict(epoch=epoch, loss=self._probe.name, tau=self._probe.loss.tau, every=self.every,
                    count=int(summary[0]), left_out=int(summary[1]), **describe(summary),
                    weight_histogram=summary[-BINS:].view(_BINS_IN_FILE, -1).sum(1).int().tolist())


class LossProbe:
    """Calls ``measure`` with each call's arguments of a distillation loss, while ``on``.

    The arguments are the logits of student and teacher, the target, and ``teacher_ce`` or None. See
    `SoftLabelMonitorHook` for ``loss`` and the errors; ``model`` is any of MMRazor's ``SingleTeacherDistill``.
    """

    def __init__(self, model: Any, loss: str | None, measure: Callable[..., None]) -> None:
        losses = model.distiller.distill_losses if hasattr(model, 'distiller') else {}
        fit = [name for name, module in losses.items() if hasattr(module, 'tau')
               and all(set(names) & set(inspect.signature(module.forward).parameters) for names in _LOGITS)]
        if not fit:
            raise ConfigError(f'SoftLabelMonitorHook: the model has the losses {list(losses)}, but no distillation '
                              'loss on logits with a tau, such as wsld_plugin.KD or wsld_plugin.WSLD. Add one, or '
                              'remove the hook from custom_hooks.')
        if loss is not None:
            check_choice('SoftLabelMonitorHook: loss', loss, fit)
        self.name = loss or fit[0]
        self.loss = losses[self.name]
        self.on = True
        self._model, self._measure = model, measure
        self._names = list(inspect.signature(self.loss.forward).parameters)
        self._given_target = 'gt_labels' in model.distiller.loss_forward_mappings[self.name]
        self._target: Any = None
        self._head_loss: nn.Module | None = None
        # torch.compile may not trace code that keeps its tensors
        self._handles = [self.loss.register_forward_hook(torch.compiler.disable(self._see), with_kwargs=True)]
        self.follow()

    def follow(self) -> None:
        """Find the target of a loss without one at the loss of the student's head, which may be replaced in a run."""
        if self._given_target:
            return
        found = getattr(getattr(self._model.student, 'head', None), 'loss_module', None)
        if not isinstance(found, nn.Module):
            raise ConfigError(f'SoftLabelMonitorHook: distill_losses.{self.name} is given no gt_labels and the '
                              "student's head has no loss_module that is given a target: add gt_labels to the "
                              'loss_forward_mappings of a loss that takes it.')
        if found is not self._head_loss:
            self._head_loss = found
            self._handles.append(found.register_forward_pre_hook(self._see_target, with_kwargs=True))

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _see(self, module: Any, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if self.on:
            given = {**dict(zip(self._names, args, strict=False)), **kwargs}
            student, teacher = (given[ours if ours in given else theirs] for ours, theirs in _LOGITS)
            target = given['gt_labels'] if self._given_target else self._target
            self._measure(student.detach(), teacher.detach(), target, given.get('teacher_ce'))

    def _see_target(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self._target = args[1] if len(args) > 1 else kwargs.get('target', kwargs.get('label'))


def _empty() -> Tensor:
    return torch.zeros(SIZE, dtype=torch.float64)
