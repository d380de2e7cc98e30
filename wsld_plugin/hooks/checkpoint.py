"""Checkpoints: written atomically, with the trained classifier beside them, and validated after a resume."""
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook as _CheckpointHook
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.files import ATOMIC_BACKEND, write_atomically
from wsld_plugin.models.export import export_classifier
from wsld_plugin.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """mmengine's ``CheckpointHook`` that never leaves a run without a complete checkpoint, and exports the student.

    - A checkpoint is written under another name and renamed when it is complete; an older one is deleted after that.
      mmengine deletes first, so that a crash while writing leaves none.
    - After every save the student is also written alone: ``student_last.pth`` and ``student_best.pth``, plain
      mmpretrain checkpoints, with ``student.py``, the config that builds it. Without distillation they are called
      ``model_last.pth``, ``model_best.pth`` and ``model.py``. A resumed run writes both again at its start: a crash
      between a checkpoint and its export leaves them of an earlier epoch.
    - Only files in the run's own folder are removed. A run that is resumed from another folder copies the best
      checkpoint from there.
    - A checkpoint in the middle of an accumulation keeps the gradients.

    The arguments are those of mmengine's hook. ``backend_args`` defaults to atomic local files.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault('backend_args', dict(backend=ATOMIC_BACKEND))
        super().__init__(*args, **kwargs)
        self._gradients: dict[str, torch.Tensor] = {}

    def before_train(self, runner: Runner) -> None:
        """Find the folder, adopt what a resumed run had, and delay removals until a new checkpoint is written."""
        super().before_train(runner)
        self.file_backend: Any = _DelayedRemoval(self.file_backend)
        if runner._resume:
            self._adopt_best(runner)
            _warn_about_resume(runner)
            self._export(runner, runner._load_from, 'last')
            self._export(runner, next(iter(self._best_paths()), None), 'best')
        for name, parameter in runner.model.named_parameters():
            if name in self._gradients:
                parameter.grad = self._gradients[name].to(parameter)
        if self._gradients:
            runner.logger.info('The accumulated gradients that mmengine calls lost are those of the checkpoint.')
        self._gradients = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the length of an epoch, and the gradients that wait for the rest of their accumulation."""
        checkpoint['meta']['epoch_length'] = len(runner.train_dataloader)
        wrapper = runner.optim_wrapper
        if 'optimizer' in checkpoint and getattr(wrapper, '_accumulative_counts', 1) > 1:
            checkpoint['gradients'] = {name: parameter.grad.cpu() for name, parameter
                                       in runner.model.named_parameters() if parameter.grad is not None}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the gradients of a resumed accumulation."""
        self._gradients = checkpoint.get('gradients') or {}

    def save_now(self, runner: Runner) -> Path:
        """Write a checkpoint in the middle of an epoch, after the current iteration, and return its path."""
        _average_gradients(runner)
        name = f'iter_{runner.iter + 1}.pth'
        runner.save_checkpoint(self.out_dir, name, by_epoch=False, backend_args=self.backend_args)
        if is_main_process():
            write_atomically(Path(runner.work_dir, 'last_checkpoint'), name.encode())
        return Path(self.out_dir, name)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        _average_gradients(runner)
        super()._save_checkpoint_with_step(runner, step, meta)
        self._finish(runner, self.last_ckpt, 'last')

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        before = self._best_paths()[:1]  # of the first indicator, which decides which student is the best
        _average_gradients(runner)
        for key in self.key_indicators if self.save_best else ():
            if key != 'auto' and key not in metrics:
                raise ConfigError(f'default_hooks.checkpoint.save_best={key!r}, expected one of the metrics that the '
                                  f'validation gives: {", ".join(metrics)}.{did_you_mean(key, metrics)}')
        super()._save_best_checkpoint(runner, metrics)
        if self._best_paths()[:1] != before:
            self._finish(runner, self._best_paths()[0], 'best')

    def _finish(self, runner: Runner, path: str, which: str) -> None:
        if is_main_process():
            self.file_backend.remove_now(self.out_dir, keep={self.last_ckpt, *self._best_paths()})
        self._export(runner, path, which)

    def _export(self, runner: Runner, path: str | None, which: str) -> None:
        if path and is_main_process():
            export_classifier(path, runner.cfg, self.out_dir, which)

    def _adopt_best(self, runner: Runner) -> None:
        """Copy the best checkpoint of a resumed run into this folder; without it, forget its score."""
        info = runner.message_hub.runtime_info
        for indicator, path in self._best_by_indicator().items():
            more = '' if len(self.key_indicators) == 1 else f'_{indicator}'
            own = Path(self.out_dir, Path(path).name)
            if not own.is_file() and Path(path).is_file() and is_main_process():
                shutil.copyfile(path, own)
            found = str(own) if own.is_file() or Path(path).is_file() else None
            if found is None:
                runner.logger.warning(f'The best checkpoint so far, {path}, does not exist: the best epoch is sought '
                                      'among those that follow.')
                info.pop(f'best_score{more}', None)
                info.pop(f'best_ckpt{more}', None)
            if more:
                self.best_ckpt_path_dict[indicator] = found
            else:
                self.best_ckpt_path = found

    def _best_by_indicator(self) -> dict[str, str]:
        """The paths of the best checkpoints so far."""
        if not self.save_best:
            return {}
        paths = {self.key_indicators[0]: self.best_ckpt_path} if len(self.key_indicators) == 1 else \
            self.best_ckpt_path_dict
        return {indicator: path for indicator, path in paths.items() if path}

    def _best_paths(self) -> list[str]:
        return list(self._best_by_indicator().values())


def _average_gradients(runner: Runner) -> None:
    """Average the gradients of an accumulation over the processes, as the step at its end would.

    Each process has those of its own images, and the main process alone writes the checkpoint.
    """
    if get_world_size() > 1 and getattr(runner.optim_wrapper, '_accumulative_counts', 1) > 1:
        for parameter in runner.model.parameters():
            if parameter.grad is not None:
                all_reduce(parameter.grad, 'mean')


def _warn_about_resume(runner: Runner) -> None:
    if not isinstance(runner.train_loop, EpochBasedTrainLoop) or runner.epoch == 0:
        return
    if runner.epoch >= runner.max_epochs:
        runner.logger.warning(f'Nothing is left to train: the checkpoint has {runner.epoch} of {runner.max_epochs} '
                              'epochs.')
    length = len(runner.train_dataloader)
    if not 0 <= runner.iter - runner.epoch * length < length:
        runner.logger.warning(
            f'The checkpoint was made with another batch size or number of processes: {runner.iter} iterations in '
            f'{runner.epoch} epochs, here of {length}. Epochs continue correctly; the learning rate and schedules '
            'that count iterations are those of the earlier setting.')


class _DelayedRemoval:
    """A file backend that removes files only when `remove_now` is called."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._waiting: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._waiting.append(path)

    def remove_now(self, folder: str, keep: set[str]) -> None:
        for path in self._waiting:
            if path not in keep and Path(path).parent == Path(folder) and self._backend.exists(path):
                self._backend.remove(path)
        self._waiting.clear()


@HOOKS.register_module()
class ResumeValidationHook(Hook):
    """Run the validation that an interruption skipped.

    mmengine writes the checkpoint of an epoch before it validates that epoch. Without this hook, a resumed run would
    not log that accuracy, and a worse epoch could replace the best checkpoint.
    """

    priority = 'LOWEST'  # after every other hook is ready for a validation

    def before_train(self, runner: Runner) -> None:
        """Validate after a resume at the end of an epoch whose validation was due."""
        loop = runner.train_loop
        if runner.epoch == 0 or runner.val_loop is None or not isinstance(loop, EpochBasedTrainLoop):
            return
        ended = runner.iter == runner.epoch * len(runner.train_dataloader)
        due = runner.epoch % loop.val_interval == 0 or runner.epoch == loop.max_epochs
        if ended and due and runner.epoch >= loop.val_begin:
            runner.logger.info(f'Validating epoch {runner.epoch}: its checkpoint was written before its validation.')
            runner.val_loop.run()
