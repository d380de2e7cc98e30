"""What is logged of a step stays on the device until something reads the log."""
from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import LoggerHook
from mmengine.hooks import RuntimeInfoHook as _RuntimeInfoHook
from mmengine.runner import Runner

from wsld_plugin.registry import HOOKS


@HOOKS.register_module()
class RuntimeInfoHook(_RuntimeInfoHook):
    """mmengine's, without making a step wait for the device.

    mmengine's reads every loss of every iteration as a number, for which a GPU must first have finished the step.
    This one keeps them, in float32, and reads all at once: whenever the logger logs, at the end of an epoch and of
    the training, and before a checkpoint is written. What the log and the checkpoint hold is the same.

    Args:
        interval: iterations between two readings; default: the ``LoggerHook``'s interval.
    """

    def __init__(self, interval: int | None = None) -> None:
        super().__init__()
        self.interval = interval
        self._waiting: list[tuple[tuple[str, ...], torch.Tensor]] = []

    def before_train(self, runner: Runner) -> None:
        """Take over the logger's interval."""
        super().before_train(runner)
        if self.interval is None:
            self.interval = next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), 10)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict[str, torch.Tensor] | None = None) -> None:
        """Keep what the step gave; read now and then."""
        if outputs:
            device = next((value.device for value in outputs.values() if isinstance(value, torch.Tensor)), None)
            # a copy: a captured step writes its next results to the same place
            values = torch.stack([torch.as_tensor(value, dtype=torch.float32, device=device).detach().reshape(())
                                  for value in outputs.values()])
            self._waiting.append((tuple(outputs), values))
        if self.every_n_inner_iters(batch_idx, self.interval) or self.every_n_train_iters(runner, self.interval) \
                or self.end_of_epoch(runner.train_dataloader, batch_idx) or self.is_last_train_iter(runner):
            self._read(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Let the checkpoint's log be whole."""
        if self._waiting:
            self._read(runner)
            checkpoint['message_hub'] = runner.message_hub.state_dict()

    def _read(self, runner: Runner) -> None:
        if not self._waiting:
            return
        numbers = iter(torch.cat([values for _, values in self._waiting]).tolist())
        for names, _ in self._waiting:
            for name in names:
                runner.message_hub.update_scalar(f'train/{name}', next(numbers))
        self._waiting.clear()
