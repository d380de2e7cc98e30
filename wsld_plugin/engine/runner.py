"""mmengine's Runner and epoch loop: memory order, strict loading, and a resume in the middle of an epoch."""
from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from mmengine import runner
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from wsld_plugin.errors import CheckpointError
from wsld_plugin.models.checkpoint import load_classifier, misfits
from wsld_plugin.registry import LOOPS, RUNNERS

from .channels_last import use_channels_last

# What changes in a scheduler while it runs; the rest of its state are the arguments of the config.
_PROGRESS = ('last_step', 'base_values', 'verbose')


@RUNNERS.register_module()
class Runner(runner.Runner):
    """mmengine's Runner with channels-last weights and strict loading: every tensor must match.

    The model is converted before it is wrapped: a distributed wrapper takes the memory order of its gradient buckets
    from the weights it finds. Weights are drawn in their order in memory, so they are contiguous while they are
    initialised: a seed gives the same weights.

    ``load_from`` takes every checkpoint that :func:`wsld_plugin.models.checkpoint.load_classifier` recognises, and
    loads it into the student, or into a plain classifier. ``resume`` takes a checkpoint of the same training.
    mmengine's Runner loads what fits of either, and continues.

    Raises:
        CheckpointError: a tensor of the checkpoint or of the model has no counterpart or another shape; a resumed
            checkpoint has another optimizer.
    """

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model as mmengine does, and convert it."""
        built = super().build_model(model)
        if chosen := (self.cfg.get('accelerate') or {}).get('channels_last'):
            use_channels_last(built, always=chosen == 'always')
        return built

    def _init_model_weights(self) -> None:
        converted = any(weight.dim() == 4 and not weight.is_contiguous() for weight in self.model.parameters())
        if converted:
            self.model.to(memory_format=torch.contiguous_format)
        super()._init_model_weights()
        if converted:
            self.model.to(memory_format=torch.channels_last)

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: dict | None = None) -> None:
        """Scale the learning rate with the number of images of an update; mmengine leaves out their accumulation."""
        counts = getattr(optim_wrapper, '_accumulative_counts', 1)
        if counts > 1 and auto_scale_lr and auto_scale_lr.get('enable'):
            self.logger.info(f"An update accumulates {counts} batches, which divides base_batch_size by {counts}.")
            auto_scale_lr = {**auto_scale_lr, 'base_batch_size': auto_scale_lr['base_batch_size'] / counts}
        super().scale_lr(optim_wrapper, auto_scale_lr)

    def load_or_resume(self) -> None:
        """Resume, or start from the weights of ``load_from``."""
        if self._resume or self._load_from is None:
            super().load_or_resume()
            return
        model = self._unwrapped()
        load_classifier(getattr(model, 'student', model), self._load_from, role='load_from')
        self.call_hook('after_load_checkpoint', checkpoint=dict(state_dict=model.state_dict()))  # averaged copies
        self._has_loaded = True

    def load_checkpoint(self, filename: str, map_location: Any = 'cpu', strict: bool = True,
                        revise_keys: Any = ()) -> dict[str, Any]:
        """Load the model of a checkpoint of the same training; ``strict`` and ``revise_keys`` have no effect."""
        checkpoint = CheckpointLoader.load_checkpoint(filename, map_location=map_location)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        problems = misfits(self._unwrapped(), checkpoint['state_dict'])
        if problems:
            raise CheckpointError(
                f'{filename} is not a checkpoint of this training:\n  ' + '\n  '.join(problems)
                + '\nResume with the config that wrote it, or start a new run from its weights: '
                f'--cfg-options load_from={filename}.')
        self._has_loaded = True
        self._loaded_meta = checkpoint.get('meta') or {}
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint

    def resume(self, filename: str, resume_optimizer: bool = True, resume_param_scheduler: bool = True,
               map_location: Any = 'default') -> None:
        """Resume as mmengine does, and log the settings of the config that the checkpoint replaces."""
        own = self._settings()
        try:
            super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
        except (ValueError, KeyError) as error:
            raise CheckpointError(f'{filename} was written with another optimizer or schedule than the config has '
                                  f'({error}). Resume with the config that wrote it, or start a new run from its '
                                  f'weights: --cfg-options load_from={filename}.') from error
        loop = self.train_loop
        if isinstance(loop, EpochLoop) and self._loaded_meta.get('epoch_length') == len(loop.dataloader):
            loop.done = loop.iter - loop.epoch * len(loop.dataloader)
        changed = [f'{name} = {value!r} (config: {own.get(name)!r})' for name, value in self._settings().items()
                   if own.get(name) != value]
        if changed:
            self.logger.warning('The run continues with settings of the checkpoint, not with those of the config: '
                                f'{"; ".join(changed)}. For those of the config start a new run with load_from.')

    def _unwrapped(self) -> Any:
        return self.model.module if is_model_wrapper(self.model) else self.model

    def _settings(self) -> dict[str, Any]:
        """The arguments of the optimizer and of the schedulers, as they are now."""
        groups = self.optim_wrapper.param_groups if hasattr(self.optim_wrapper, 'param_groups') else []
        settings = {f'optimizer.{name}': value for name, value in (groups[0] if groups else {}).items()
                    if name not in ('params', 'lr')}
        schedulers = self.param_schedulers if isinstance(self.param_schedulers, list) else []
        for index, scheduler in enumerate(schedulers):
            settings |= {f'param_scheduler.{index}.{name}': value for name, value in scheduler.state_dict().items()
                         if not name.startswith('_') and name not in _PROGRESS}
        return settings


@LOOPS.register_module()
class EpochLoop(runner.EpochBasedTrainLoop):
    """mmengine's epoch loop that continues an epoch from the iteration at which a checkpoint was written.

    mmengine trains such an epoch again from its start, with a wrong count of iterations. The order and the
    augmentation of the samples depend on the epoch alone, so the samples that were used are skipped unread.

    Attributes:
        done: number of iterations that the next epoch skips, set when a run is resumed.
    """

    done = 0

    def run_epoch(self) -> None:
        """Train an epoch, or the rest of it."""
        done, self.done = self.done, 0
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        sampler = self.dataloader.sampler
        keyed = done and hasattr(sampler, 'start') and self.dataloader.batch_size
        if keyed:
            sampler.start = done * self.dataloader.batch_size
        for index, batch in enumerate(islice(self.dataloader, 0 if keyed else done, None), start=done):
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
