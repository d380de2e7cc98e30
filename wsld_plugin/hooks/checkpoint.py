"""Checkpoints of which one is always whole, and the trained classifier beside them."""
from __future__ import annotations

from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as _CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner

from wsld_plugin.engine.resume import weights_of
from wsld_plugin.files import ATOMIC_BACKEND
from wsld_plugin.models.export import export_classifier
from wsld_plugin.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """mmengine's ``CheckpointHook`` that loses nothing and hands out the student.

    - A checkpoint is written under another name and renamed when whole, and an older one is deleted after
      that; mmengine deletes first, so that a crash while writing leaves none.
    - After every save the student is also written alone: ``student_last.pth`` and ``student_best.pth``, plain
      mmpretrain checkpoints, with ``student.py``, the config that builds it. From a run without distillation
      they are called ``model_last.pth``, ``model_best.pth`` and ``model.py``.

    Args:
        *args, **kwargs: as for mmengine's hook. ``backend_args`` defaults to atomic local files.
        export: whether to write the student alone.
    """

    def __init__(self, *args: Any, export: bool = True, **kwargs: Any) -> None:
        kwargs.setdefault('backend_args', dict(backend=ATOMIC_BACKEND))
        super().__init__(*args, **kwargs)
        self.export = export

    def before_train(self, runner: Runner) -> None:
        """Find the folder; from then on hold removals back until the new checkpoint is written."""
        super().before_train(runner)
        _tell_about_resume(runner)
        self.file_backend: Any = _RemoveLater(self.file_backend)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        super()._save_checkpoint_with_step(runner, step, meta)
        self._finish(runner, self.last_ckpt, 'last')

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        before = self._best_score(runner)
        super()._save_best_checkpoint(runner, metrics)
        if self._best_score(runner) != before:
            self._finish(runner, self._best_paths()[0], 'best')

    def _finish(self, runner: Runner, path: str, which: str) -> None:
        if not is_main_process():
            return
        self.file_backend.remove_now(keep={self.last_ckpt, *self._best_paths()})
        if self.export:
            export_classifier(str(weights_of(path)), runner.cfg, self.out_dir, which)

    def _best_score(self, runner: Runner) -> Any:
        """Of the first indicator, which is the one whose best student is exported."""
        indicators = getattr(self, 'key_indicators', [])
        name = 'best_score' if len(indicators) == 1 else f'best_score_{indicators[0]}' if indicators else ''
        return runner.message_hub.runtime_info.get(name)

    def _best_paths(self) -> list[str]:
        if not self.save_best:
            return []
        if len(self.key_indicators) == 1:
            return [self.best_ckpt_path]
        return [self.best_ckpt_path_dict[name] for name in self.key_indicators]


def _tell_about_resume(runner: Runner) -> None:
    """Say what a user may not expect of a resumed run."""
    if not isinstance(runner.train_loop, EpochBasedTrainLoop) or runner.epoch == 0:
        return
    if runner.epoch >= runner.max_epochs:
        runner.logger.warning(f'Nothing is left to train: the checkpoint has {runner.epoch} of {runner.max_epochs} '
                              'epochs.')
    expected = runner.epoch * len(runner.train_dataloader)
    if runner.iter != expected:
        runner.logger.warning(
            f'The checkpoint was made with another batch size or number of processes: {runner.iter} iterations in '
            f'{runner.epoch} epochs, here {expected}. Epochs go on as they should; the learning rate and schedules '
            'that count iterations are those of the former setting.')


class _RemoveLater:
    """A file backend whose removals wait until they are safe."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._waiting: list[tuple[Any, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._waiting.append((self._backend.remove, path))

    def rmtree(self, path: str) -> None:
        self._waiting.append((self._backend.rmtree, path))

    def remove_now(self, keep: set[str]) -> None:
        for remove, path in self._waiting:
            if path not in keep and self._backend.exists(path):
                remove(path)
        self._waiting.clear()
