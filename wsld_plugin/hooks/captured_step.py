"""The training step of a run, replayed as a CUDA graph."""
from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from wsld_plugin.engine.graph import CapturedStep
from wsld_plugin.engine.graph_settings import check_capturable, prepare_optimizer
from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import HOOKS


@HOOKS.register_module()
class CapturedStepHook(Hook):
    """While training, the model's ``train_step`` is a :class:`wsld_plugin.engine.graph.CapturedStep`.

    Without CUDA it is left out, and the log says so.

    Args:
        capture: None: where CUDA is; False: everything but the recording itself, on any device.
        warmup: steps that run as usual before.

    Raises:
        ConfigError: several processes, or settings that cannot be captured.
    """

    priority = 'LOWEST'  # after what is loaded into the optimizer and changed in the model

    def __init__(self, capture: bool | None = None, warmup: int = 3) -> None:
        self.capture = capture
        self.warmup = warmup

    def before_train(self, runner: Runner) -> None:
        """Take the step's place."""
        if self.capture is None and not torch.cuda.is_available():
            runner.logger.info('The training step is not captured: there is no CUDA device.')
            return
        if is_model_wrapper(runner.model):
            raise ConfigError('the training step of several processes cannot be captured. Start one process, or '
                              'train without capturing the step.')
        check_capturable(runner.model, runner.optim_wrapper)
        prepare_optimizer(runner.optim_wrapper.optimizer)
        runner.model.train_step = CapturedStep(runner.model, self.capture is not False, self.warmup)

    def after_train(self, runner: Runner) -> None:
        """Give it back."""
        vars(runner.model).pop('train_step', None)
