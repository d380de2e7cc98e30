"""Predictions for the validation set, written during training."""
from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.dist import collect_results, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner

from wsld_plugin.errors import ConfigError, RunError
from wsld_plugin.files import write_atomically
from wsld_plugin.registry import HOOKS

FOLDER = 'log_probabilities'
BY_EPOCH = ('bias and variance are recorded by epoch, but train_cfg trains by iteration. Give it by_epoch=True and '
            'max_epochs.')


@HOOKS.register_module()
class PredictionsHook(Hook):
    """Write the log-probabilities of the whole validation set at every validation.

    ``<work_dir>/log_probabilities/epoch_<n>.npy`` is (N, C), float32, the log-softmax of the logits of the
    classifier's head; ``labels.npy`` is (N,), the classes. A data set with a method ``posteriors()`` adds its true
    posteriors, ``posteriors.npy`` (N, C). Files are written atomically, before the accuracy of the epoch is logged.

    Raises:
        ConfigError: training by iteration, a head without logits (N, C), or a shuffled validation set.
    """

    def before_run(self, runner: Runner) -> None:
        """Reject training by iteration."""
        if isinstance(runner._train_loop, IterBasedTrainLoop):
            raise ConfigError(f'PredictionsHook: {BY_EPOCH}')

    def before_val_epoch(self, runner: Runner) -> None:
        """Register a hook on the head."""
        sampler, name = runner.val_dataloader.sampler, 'val_dataloader.sampler'
        while sampler is not None:
            if getattr(sampler, 'shuffle', False):
                raise ConfigError(f'PredictionsHook: {name}.shuffle is True, but predictions of several models are '
                                  'compared sample by sample. Set it to False.')
            sampler, name = getattr(sampler, 'sampler', None), f'{name}.sampler'
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._rows: list[tuple[np.ndarray, int]] = []
        self._logits: Any = None
        self._handle = getattr(model, 'student', model).head.register_forward_hook(self._record)

    def _record(self, head: Any, inputs: Any, logits: Any) -> None:
        self._logits = logits

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Record a batch."""
        logits = self._logits
        if not isinstance(logits, torch.Tensor) or logits.shape[:1] != (len(outputs), ) or logits.ndim != 2:
            raise ConfigError('PredictionsHook: the head of the classifier gives no logits (N, C); bias and variance '
                              'need single-label classification.')
        log_p = logits.double().log_softmax(dim=-1).float().cpu().numpy()
        self._rows += [(row, int(sample.gt_label)) for row, sample in zip(log_p, outputs, strict=True)]

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the files."""
        self._handle.remove()
        dataset = runner.val_dataloader.dataset
        rows = collect_results(self._rows, len(dataset), device='cpu')
        if is_main_process():
            folder = Path(runner.work_dir) / FOLDER
            write_array(folder / f'epoch_{runner.epoch}.npy', np.stack([row for row, _ in rows]))
            write_array(folder / 'labels.npy', np.array([label for _, label in rows]))
            if hasattr(dataset, 'posteriors'):
                write_array(folder / 'posteriors.npy', dataset.posteriors())


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a ``.npy`` file atomically."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomically(path, buffer.getvalue())


def epoch_files(work_dir: Path) -> dict[int, Path]:
    """The files of log-probabilities (N, C) by epoch, in ascending order. Raises RunError if there are none."""
    files = {int(path.stem.removeprefix('epoch_')): path for path in (work_dir / FOLDER).glob('epoch_*.npy')}
    if not files:
        raise RunError(f'{work_dir} holds no log-probabilities, though its run is finished. Move the folder away and '
                       'train again.')
    return dict(sorted(files.items()))


def read_log_probabilities(path: Path) -> np.ndarray:
    """Load one of `epoch_files`, (N, C), as a memory map. Raises RunError if it cannot be read."""
    return _read(path, mmap_mode='r')


def read_target(work_dir: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Load labels (N,), and the true posteriors (N, C) or None. Raises RunError if a file cannot be read."""
    folder = work_dir / FOLDER
    posteriors = folder / 'posteriors.npy'
    return _read(folder / 'labels.npy'), _read(posteriors) if posteriors.is_file() else None


def _read(path: Path, mmap_mode: Literal['r'] | None = None) -> np.ndarray:
    try:
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:  # empty: EOFError; truncated: ValueError
        raise RunError(f"{path} cannot be read: {error}. Move the run's folder away, {path.parents[1]}, and train "
                       'it again.') from error
