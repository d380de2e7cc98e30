"""A run whose loss is no number any more stops, and keeps its last good checkpoint."""
from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner

from wsld_plugin.engine.resume import newest_checkpoint
from wsld_plugin.errors import NonFiniteLossError
from wsld_plugin.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop at a non-finite loss, without making any step wait for the device.

    Every step notes on the device whether the total loss was finite, and the parts of the first loss that was
    not. The note is read when the logger logs and before every checkpoint is written, which therefore
    never holds a non-finite loss or weight.

    Args:
        interval: steps between two readings; default: the ``LoggerHook``'s interval.

    Raises:
        NonFiniteLossError: with the epoch, the first bad iteration (1-based) and the parts of its loss.
    """

    priority = 'ABOVE_NORMAL'  # before anything logs or saves

    def __init__(self, interval: int | None = None) -> None:
        self.interval = interval
        self._names: list[str] = []
        self._note: torch.Tensor | None = None  # (1 + parts,): iteration or 0, then the parts

    def before_train(self, runner: Runner) -> None:
        """Take over the logger's interval."""
        if self.interval is None:
            self.interval = next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), 10)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict[str, torch.Tensor] | None = None) -> None:
        """Note on the device; read now and then."""
        outputs = outputs or {}
        if 'loss' in outputs:
            self._names = list(outputs)
            values = torch.stack([value.detach().float().reshape(()) for value in outputs.values()])
            bad = ~torch.isfinite(outputs['loss'].detach())
            now = torch.cat([(bad * float(runner.iter + 1)).reshape(1), values])
            self._note = now if self._note is None else torch.where(self._note[0] > 0, self._note, now)
        if self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner):
            self._read(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Let nothing non-finite into a checkpoint."""
        self._read(runner)
        for name, value in checkpoint.get('state_dict', {}).items():
            if torch.is_floating_point(value) and not torch.isfinite(value).all():
                raise NonFiniteLossError(
                    f'{name} became non-finite by iteration {runner.iter} (epoch {runner.epoch + 1}); nothing '
                    f'was saved. {self._advice(runner)}')

    def _read(self, runner: Runner) -> None:
        if self._note is None:
            return
        iteration, *values = self._note.tolist()
        self._note = None
        if iteration > 0:
            epoch = int(iteration - 1) // max(len(runner.train_dataloader), 1) + 1
            parts = ', '.join(f'{name} = {value:g}' for name, value in zip(self._names, values, strict=True))
            raise NonFiniteLossError(f'the loss was not finite in iteration {int(iteration)} '
                                     f'(epoch {epoch}): {parts}. {self._advice(runner)}')

    @staticmethod
    def _advice(runner: Runner) -> str:
        last = newest_checkpoint(runner.work_dir)
        kept = f'The last good checkpoint is {last}' if last else 'No checkpoint was written before'
        return (f'{kept}. Try a lower learning rate: the gradient of a soft loss is loss_weight·tau times '
                "that of a hard one. Or clip it: optim_wrapper=dict(clip_grad=dict(max_norm=5)).")
