"""Ctrl-C and SIGTERM end a training after an iteration, with a checkpoint."""
from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from wsld_plugin.errors import Interrupted
from wsld_plugin.registry import HOOKS

from .checkpoint import CheckpointHook

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@HOOKS.register_module()
class StopHook(Hook):
    """On SIGTERM (Slurm, Kubernetes, spot machines) or Ctrl-C, save a checkpoint after the iteration and stop.

    All ranks stop after the same iteration: every ``interval`` iterations they ask each other. A second signal ends
    the process at once.

    Args:
        interval: iterations between two such questions; one process alone looks in every iteration.

    Raises:
        Interrupted: after the checkpoint is written.
    """

    priority = 'LOWEST'  # the iteration is logged, and a checkpoint that is due is written

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval
        self._received = 0
        self._former: dict[int, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Listen for the signals, where this is the main thread of its process."""
        try:
            self._former = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        except ValueError:  # another thread: a program that trains in one handles its signals itself
            self._former = {}

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop if a rank received a signal."""
        received = self._received
        if get_world_size() > 1:
            if not self.every_n_train_iters(runner, self.interval):
                return
            flag = torch.tensor(received, device=next(runner.model.parameters()).device)
            all_reduce(flag, 'max')
            received = int(flag)
        if not received:
            return
        self._stop_listening()
        saved = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook)).save_now(runner)
        raise Interrupted(received, f'{signal.Signals(received).name}: stopped after iteration {runner.iter + 1} of '
                                    f'{runner.max_iters}; {saved} is written. The same command with --resume '
                                    'continues from there.')

    def after_train(self, runner: Runner) -> None:
        """Restore the handlers."""
        self._stop_listening()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received:
            self._stop_listening()
            signal.raise_signal(number)
        self._received = number

    def _stop_listening(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}
