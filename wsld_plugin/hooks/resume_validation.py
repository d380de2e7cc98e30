"""The validation that an interruption has cut off is made up for."""
from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from wsld_plugin.registry import HOOKS


@HOOKS.register_module()
class ResumeValidationHook(Hook):
    """Validate the epoch that a resumed checkpoint ends, where its validation was due.

    mmengine writes the checkpoint of an epoch before it validates that epoch. A run that resumes from it would
    neither have the accuracy, the last epoch's included, nor know the best score if that epoch gave it: a worse
    epoch would then take the place of the best checkpoint. Nothing else in the run changes.
    """

    priority = 'LOWEST'  # after every other hook is ready for a validation

    def before_train(self, runner: Runner) -> None:
        """Validate, after a resume at the end of an epoch."""
        loop = runner.train_loop
        if runner.epoch == 0 or runner.val_loop is None or not isinstance(loop, EpochBasedTrainLoop):
            return
        ended = runner.iter == runner.epoch * len(runner.train_dataloader)
        due = runner.epoch % loop.val_interval == 0 or runner.epoch == loop.max_epochs
        if ended and due and runner.epoch >= loop.val_begin:
            runner.logger.info(f'Epoch {runner.epoch} is validated again: its checkpoint was written before that.')
            runner.val_loop.run()
