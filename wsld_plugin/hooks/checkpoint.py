"""Checkpoints: written atomically with the trained classifier beside them, found again, validated after a resume."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as _CheckpointHook
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from wsld_plugin.errors import ConfigError
from wsld_plugin.files import ATOMIC_BACKEND
from wsld_plugin.models.export import export_classifier
from wsld_plugin.registry import HOOKS

_CHECKPOINT = re.compile(r'^(epoch|iter)_(\d+)\.pth$')


def newest_checkpoint(work_dir: str | Path) -> Path | None:
    """Return the checkpoint of a run's folder to resume from, the one written last, or None.

    The file ``last_checkpoint`` names it. If that is missing, damaged or names a file that does not exist (the folder
    was moved, the run was killed while writing), the highest epoch or iteration counts.
    """
    work_dir = Path(work_dir)
    pointer = work_dir / 'last_checkpoint'
    if pointer.is_file():
        named = work_dir / Path(pointer.read_text().strip()).name
        if named.is_file():
            return named
    found = [(int(match[2]), path) for path in work_dir.glob('*.pth')
             if (match := _CHECKPOINT.match(path.name)) and path.is_file()]
    return max(found)[1] if found else None


def refuse_to_overwrite(work_dir: str | Path) -> None:
    """Raise ConfigError if the folder of a new run holds checkpoints or the exported student of an earlier one."""
    resumable = newest_checkpoint(work_dir)
    found = resumable or next(iter(sorted(Path(work_dir).glob('*.pth'))), None)
    if found is not None:
        ways = 'Continue that run with --resume, or start' if resumable else 'Start'
        raise ConfigError(f'{work_dir} already holds a trained model ({found.name}), and a new run would overwrite '
                          f'it. {ways} a new one with --work-dir ANOTHER.')


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """mmengine's ``CheckpointHook`` that never leaves a run without a complete checkpoint, and exports the student.

    - A checkpoint is written under another name and renamed when it is complete; an older one is deleted after that.
      mmengine deletes first, so that a crash while writing leaves none.
    - After every save the student is also written alone: ``student_last.pth`` and ``student_best.pth``, plain
      mmpretrain checkpoints, with ``student.py``, the config that builds it. Without distillation they are called
      ``model_last.pth``, ``model_best.pth`` and ``model.py``.

    The arguments are those of mmengine's hook. ``backend_args`` defaults to atomic local files.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault('backend_args', dict(backend=ATOMIC_BACKEND))
        super().__init__(*args, **kwargs)

    def before_train(self, runner: Runner) -> None:
        """Find the folder, and delay removals until the new checkpoint is written."""
        super().before_train(runner)
        _warn_about_resume(runner)
        self.file_backend: Any = _DelayedRemoval(self.file_backend)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        super()._save_checkpoint_with_step(runner, step, meta)
        self._finish(runner, self.last_ckpt, 'last')

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        before = self._best_paths()[:1]  # of the first indicator, which decides which student is the best
        super()._save_best_checkpoint(runner, metrics)
        if self._best_paths()[:1] != before:
            self._finish(runner, self._best_paths()[0], 'best')

    def _finish(self, runner: Runner, path: str, which: str) -> None:
        if is_main_process():
            self.file_backend.remove_now(keep={self.last_ckpt, *self._best_paths()})
            export_classifier(path, runner.cfg, self.out_dir, which)

    def _best_paths(self) -> list[str]:
        if not self.save_best:
            return []
        if len(self.key_indicators) == 1:
            return [self.best_ckpt_path]
        return [self.best_ckpt_path_dict[name] for name in self.key_indicators]


def _warn_about_resume(runner: Runner) -> None:
    if not isinstance(runner.train_loop, EpochBasedTrainLoop) or runner.epoch == 0:
        return
    if runner.epoch >= runner.max_epochs:
        runner.logger.warning(f'Nothing is left to train: the checkpoint has {runner.epoch} of {runner.max_epochs} '
                              'epochs.')
    expected = runner.epoch * len(runner.train_dataloader)
    if runner.iter != expected:
        runner.logger.warning(
            f'The checkpoint was made with another batch size or number of processes: {runner.iter} iterations in '
            f'{runner.epoch} epochs, here {expected}. Epochs continue correctly; the learning rate and schedules '
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

    def remove_now(self, keep: set[str]) -> None:
        for path in self._waiting:
            if path not in keep and self._backend.exists(path):
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
