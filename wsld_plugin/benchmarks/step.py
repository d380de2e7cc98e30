"""One training step, built as mmengine's Runner builds it, on random images and initial weights."""
from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import set_random_seed

from wsld_plugin.engine.accelerate import compile_backbones, compile_losses, use_channels_last
from wsld_plugin.errors import ConfigError
from wsld_plugin.teachers.network import head_classes

from .batches import collate_of, random_batch
from .gate import check_repeats


class TrainStep:
    """``model.train_step`` of a training config: preprocessing, forward, backward and the optimizer.

    The weights are as they are initialised, the teachers' too, since speed does not depend on them: no checkpoint
    is needed but one that an ``init_cfg`` of type ``Pretrained`` names. Batches come from the CPU, as a loader's do.
    Data loading, hooks and the learning-rate schedule are no part of the step. What the config's ``accelerate`` asks
    for is done as in training.

    Args:
        name: in messages.
        cfg: a training config, see :func:`wsld_plugin.benchmarks.configs.read_training_config`.
        batch_size: N.
        side: of the square images, in pixels.
        like: a step whose student's and teacher's weights this one starts from; None: its own.
    """

    def __init__(self, name: str, cfg: Config, batch_size: int, side: int, like: TrainStep | None = None) -> None:
        self.name = name
        self._optim_wrapper_cfg = cfg.optim_wrapper
        set_random_seed(0)
        with DefaultScope.overwrite_default_scope(scope_of(cfg)), _quiet():
            self.model = MODELS.build(model_config(cfg)).to(get_device())
            self.model.init_weights()
            if like is not None:
                _copy_weights(like.model, self.model)
            self.model.train()
            self.batch = random_batch(batch_size, (channels_of(self.model), side, side), _classes(self.model),
                                      collate_of(cfg))
            self.done = accelerate_model(self.model, cfg.get('accelerate') or {}, self.batch)
            self._initial = copy.deepcopy(self.model.state_dict())
            self.restart()

    def restart(self) -> None:
        """Back to the initial weights, a new optimizer and the first random numbers."""
        self.model.load_state_dict(self._initial)
        self.optim_wrapper = build_optim_wrapper(self.model, self._optim_wrapper_cfg)
        set_random_seed(0)

    def sharpen(self, factor: float) -> None:
        """Multiply the logits of student and teacher: those of fresh heads are so small that losses hardly differ."""
        with torch.no_grad():
            for role in ('student', 'teacher'):
                for parameter in getattr(self.model, role).head.parameters():
                    parameter.mul_(factor)
        self._initial = copy.deepcopy(self.model.state_dict())

    def new_batch(self) -> Any:
        """A copy: Mixup and CutMix write to the samples that they are given."""
        return copy.deepcopy(self.batch)

    def __call__(self, batch: Any) -> dict[str, torch.Tensor]:
        """Take a step on a batch, which may be changed by it; what is logged of it."""
        return self.model.train_step(batch, self.optim_wrapper)

    def check(self) -> dict[str, float]:
        """Refuse a step that is not finite or not repeatable; see :func:`check_repeats`. What it gave."""
        losses = []
        for _ in range(2):
            self.restart()
            losses.append({key: value.item() for key, value in self(self.new_batch()).items()})
        self.restart()
        check_repeats(self.name, *losses)
        return losses[0]

    def stand_still(self) -> None:
        """Set the learning rate to 0: the same arithmetic, but hundreds of steps on one batch change no weight."""
        for group in self.optim_wrapper.param_groups:
            group['lr'] = 0.0

    def peak_memory(self) -> int | None:
        """Bytes that one step needs beside weights and optimizer state; None where the device is not CUDA's."""
        if not torch.cuda.is_available():
            return None
        self(self.new_batch())  # the optimizer's state is made in its first step
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        self(self.new_batch())
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before


def accelerate_model(model: torch.nn.Module, parts: Mapping[str, Any], batch: Any) -> list[str]:
    """Do with a built model what a run does whose config has these parts of ``accelerate``; what was done."""
    lines = []
    if parts.get('channels_last'):
        use_channels_last(model)
    if parts.get('compile'):
        options = {} if parts['compile'] is True else parts['compile']
        lines += compile_backbones(model, options) + compile_losses(model, options)
    return lines


def model_config(cfg: Config) -> dict[str, Any]:
    """The model as the Runner builds it, without the teachers' checkpoints."""
    model = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', copy.deepcopy(cfg.data_preprocessor))
    if model.get('teacher'):
        model.teacher_ckpt = False
        for member in model.teacher.get('members', []):
            member.checkpoint = False
    return model


def scope_of(cfg: Config) -> str:
    """Where the Runner looks up names without a scope."""
    return cfg.get('default_scope') or 'mmengine'


def _copy_weights(source: torch.nn.Module, target: torch.nn.Module) -> None:
    for role in ('student', 'teacher'):
        given, taker = getattr(source, role, None), getattr(target, role, None)
        if isinstance(given, torch.nn.Module) and isinstance(taker, torch.nn.Module) and taker.state_dict():
            taker.load_state_dict(given.state_dict())


@contextmanager
def _quiet() -> Iterator[None]:
    # mmengine logs how each weight was initialised, several lines a tensor
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')
    try:
        yield
    finally:
        logger.setLevel(level)


def channels_of(model: torch.nn.Module) -> int:
    """Of the images that a model takes, told by its normalisation; 3 where it has none."""
    mean = getattr(model.data_preprocessor, 'mean', None)
    return 3 if mean is None else len(mean)


def _classes(model: torch.nn.Module) -> int:
    classes = head_classes(getattr(model, 'student', model))
    if classes is None:
        raise ConfigError(f'how many classes {type(model).__name__} has is not known: its head has no num_classes.')
    return classes
