"""Hooks of every run: losses logged without a wait for the device, finite losses, seeds, the teacher's accuracy."""
from __future__ import annotations

import json
from typing import Any

import torch
from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.hooks import RuntimeInfoHook as _RuntimeInfoHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend

from wsld_plugin.datasets.keyed import seed_everything
from wsld_plugin.errors import NonFiniteLossError
from wsld_plugin.files import to_json
from wsld_plugin.registry import HOOKS

from .run_folder import checkpoints


def _logger_interval(runner: Runner) -> int:
    """Iterations between two lines of the log, and between two readings of what is kept on the device."""
    return next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), 10)


def add_scalars(runner: Runner, values: dict[str, Any], step: int) -> None:
    """Send values to TensorBoard and the like.

    They are not in ``scalars.json``: of the lines there without a learning rate, mmpretrain's plotter expects the
    metrics of a validation.
    """
    for backend in runner.visualizer._vis_backends.values() if is_main_process() else ():
        if not isinstance(backend, LocalVisBackend):
            backend.add_scalars(values, step=step)


@HOOKS.register_module()
class RuntimeInfoHook(_RuntimeInfoHook):
    """mmengine's ``RuntimeInfoHook`` without a wait for the device in every step.

    mmengine's hook reads every loss in every iteration, for which a GPU must have finished the step. This one keeps
    the losses on the device, in float32, and reads all at once: when the logger logs, at the end of an epoch and of
    the training, and before a checkpoint is written. Log and checkpoint are the same.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[tuple[str, ...], torch.Tensor]] = []

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict[str, torch.Tensor] | None = None) -> None:
        """Keep the step's losses; read all kept ones when the logger logs."""
        if outputs:
            device = next((value.device for value in outputs.values() if isinstance(value, torch.Tensor)), None)
            # stack copies: torch.compile's CUDA graphs reuse the memory of their results
            values = torch.stack([torch.as_tensor(value, dtype=torch.float32, device=device).detach().reshape(())
                                  for value in outputs.values()])
            self._waiting.append((tuple(outputs), values))
        interval = _logger_interval(runner)
        if self.every_n_inner_iters(batch_idx, interval) or self.every_n_train_iters(runner, interval) \
                or self.end_of_epoch(runner.train_dataloader, batch_idx) or self.is_last_train_iter(runner):
            self._read(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Complete the log in the checkpoint."""
        if self._waiting:
            self._read(runner)
            checkpoint['message_hub'] = runner.message_hub.state_dict()

    def _read(self, runner: Runner) -> None:
        if self._waiting:
            numbers = iter(torch.cat([values for _, values in self._waiting]).tolist())
            for name in (name for names, _ in self._waiting for name in names):
                runner.message_hub.update_scalar(f'train/{name}', next(numbers))
            self._waiting.clear()


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop at a non-finite loss, without a wait for the device in every step.

    Every step records on the device whether the total loss was finite, and the parts of the first loss that was not.
    The record is read when the logger logs and before every checkpoint is written, so a checkpoint never holds a
    non-finite loss or weight.

    Raises:
        NonFiniteLossError: with the epoch, the first bad iteration (from 1) and the parts of its loss.
    """

    priority = 'ABOVE_NORMAL'  # before anything logs or saves

    def __init__(self) -> None:
        self._names: list[str] = []
        self._record: torch.Tensor | None = None  # (1 + parts,): first bad iteration or 0, then its parts

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict[str, torch.Tensor] | None = None) -> None:
        """Record on the device; read when the logger logs."""
        if outputs and 'loss' in outputs:
            self._names = list(outputs)
            values = torch.stack([value.detach().float().reshape(()) for value in outputs.values()])
            bad = ~torch.isfinite(outputs['loss'].detach())
            now = torch.cat([(bad * float(runner.iter + 1)).reshape(1), values])
            self._record = now if self._record is None else torch.where(self._record[0] > 0, self._record, now)
        if self.every_n_train_iters(runner, _logger_interval(runner)) or self.is_last_train_iter(runner):
            self._read(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Raise before a checkpoint with a non-finite loss or weight is written."""
        self._read(runner)
        for name, value in checkpoint.get('state_dict', {}).items():
            if torch.is_floating_point(value) and not torch.isfinite(value).all():
                raise NonFiniteLossError(f'{name} became non-finite by iteration {runner.iter} (epoch '
                                         f'{runner.epoch + 1}); nothing was saved. {self._advice(runner)}')

    def _read(self, runner: Runner) -> None:
        if self._record is None:
            return
        iteration, *values = self._record.tolist()
        self._record = None
        if iteration > 0:
            epoch = int(iteration - 1) // max(len(runner.train_dataloader), 1) + 1
            parts = ', '.join(f'{name} = {value:g}' for name, value in zip(self._names, values, strict=True))
            raise NonFiniteLossError(f'the loss was not finite in iteration {int(iteration)} (epoch {epoch}): '
                                     f'{parts}. {self._advice(runner, first=iteration == 1)}')

    @staticmethod
    def _advice(runner: Runner, first: bool = False) -> str:
        if first:
            return ("This is the first step: the loaded weights (the teacher's too) or the images hold NaN or "
                    "infinity. Check the checkpoints and the data_preprocessor's mean and std.")
        last = checkpoints(runner.work_dir)
        kept = f'The last good checkpoint is {last[0]}' if last else 'No checkpoint was written before'
        return (f'{kept}. Try a lower learning rate: the gradient of a soft loss is loss_weight·tau times '
                "that of a hard one. Or clip it: optim_wrapper=dict(clip_grad=dict(max_norm=5)).")


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Before every training iteration, seed `random`, numpy and torch with BLAKE2b(seed, iteration, rank).

    Torch is seeded on the CPU and on the rank's GPU. Mixup, CutMix, dropout and stochastic depth then draw the same
    numbers after a resume as without the interruption. ``seed`` is ``randomness.seed`` of the config.

    Not covered: the augmentation of a sample, which `KeyedDataset` seeds; kernels that add in a varying order
    (``randomness.deterministic``); a module's own generators; a run with another number of ranks.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the iteration."""
        seed_everything('iteration', runner.seed, runner.iter, get_rank())


@HOOKS.register_module()
class TeacherEvalHook(Hook):
    """Validate the teacher once, before training, in the student's classes and with its metrics.

    The result is logged, sent to the visualizer's backends as ``teacher/<metric>`` at step 0, and saved in the
    checkpoint, so that a resumed run does not measure again. The random state is restored. The hook is skipped, with
    a line in the log, without a validation set, and for a teacher that reads the labels, which is always right.
    """

    def before_train(self, runner: Runner) -> None:
        """Measure, or read the result from the resumed checkpoint."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not hasattr(model, 'teacher_logits'):
            return
        if getattr(model.teacher, 'reads_labels', False):
            runner.logger.info('The teacher is not validated: it reads the labels.')
            return
        metrics = runner.message_hub.runtime_info.get('teacher_metrics')
        if metrics is None:
            if runner.val_loop is None:
                runner.logger.info('The teacher is not validated: this run has no validation set.')
                return
            metrics = json.loads(to_json(self._measure(runner, model)))
            runner.message_hub.update_info('teacher_metrics', metrics)
            add_scalars(runner, {f'teacher/{name}': value for name, value in metrics.items()
                                 if isinstance(value, (int, float))}, step=0)
        runner.logger.info('Teacher: ' + '  '.join(
            f'{name}: {value:.4f}' if isinstance(value, float) else f'{name}: {value}'
            for name, value in metrics.items()))

    @staticmethod
    @torch.no_grad()
    def _measure(runner: Runner, model: Any) -> dict[str, Any]:
        loader, evaluator = runner.val_loop.dataloader, runner.val_loop.evaluator
        was_training = model.training
        model.eval()
        with torch.random.fork_rng(devices=[]):  # a loader draws a seed for its workers
            for batch in loader:
                data = model.data_preprocessor(batch, False)
                scores = model.teacher_logits(data['inputs'], data['data_samples']).softmax(dim=-1)
                evaluator.process(data_samples=[
                    sample.set_pred_score(row).set_pred_label(row.argmax(dim=-1, keepdim=True))
                    for sample, row in zip(data['data_samples'], scores, strict=True)], data_batch=batch)
        model.train(was_training)
        return evaluator.evaluate(len(loader.dataset))
