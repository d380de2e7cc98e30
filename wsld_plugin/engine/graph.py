"""A training step that is recorded once as a CUDA graph and then replayed."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from wsld_plugin.datasets.resident import ResidentBatch
from wsld_plugin.errors import ConfigError, RunError

from .graph_settings import check_capturable, rates_as_tensors

# Of a group of parameters: what may change from step to step, or says nothing of the arithmetic.
_NOT_RECORDED = ('params', 'lr', 'initial_lr')


class CapturedStep:
    """``model.train_step`` on resident data, recorded as one CUDA graph and replayed.

    Recorded is the whole step: gathering, augmentation, normalisation, teacher, student, losses, backward and the
    optimizer. A step then costs the host one copy of a few numbers and one launch. The first ``warmup`` steps run as
    usual, and so does a batch of another size than the first, such as the last of an epoch. The learning rate is read
    from a tensor that follows the schedule. What is logged is written to the same tensors in every step.

    It is recorded anew when the model's mode, the head's loss, the pipeline or a setting of the optimizer changes,
    and when distillation is stopped. Anything else that Python decides in a step is decided once, in the recording.

    Args:
        model: the model, not wrapped for several processes.
        capture: False: everything but the recording; the step runs on the same tensors as it would when replayed.
        warmup: steps before the recording, at least 1: the optimizer makes its state in the first.

    Raises:
        ConfigError: no warm-up; in a step, a batch that is not resident or settings that :func:`check_capturable`
            refuses.
        RunError: the step cannot be recorded, because something in it waits for the device.
    """

    def __init__(self, model: nn.Module, capture: bool = True, warmup: int = 3) -> None:
        if warmup < 1:
            raise ConfigError(f'a captured step: warmup={warmup}, expected at least 1: in it the optimizer makes its '
                              'state.')
        self.model = model
        self.capture = capture
        self.warmup = warmup
        self.recordings = 0
        self._train_step: Any = model.train_step
        self._side = torch.cuda.Stream() if capture else None
        self._size: int | None = None
        self._recorded_for: tuple[Any, ...] | None = None
        self._taken = 0
        self._forget()

    def __call__(self, data: Any, optim_wrapper: OptimWrapper) -> Mapping[str, Tensor]:
        """Take one step; what is logged of it."""
        if not isinstance(data, ResidentBatch):
            raise ConfigError(f'a captured step needs resident data, but was given a batch of type '
                              f'{type(data).__name__}. Let the training set live on the device: docs/resident.md.')
        settings = self._settings(data, optim_wrapper)
        if settings != self._recorded_for:
            check_capturable(self.model, optim_wrapper)
            self._forget()
            self._recorded_for, self._taken = settings, 0
        if self._size is None:
            self._size = len(data.numbers)
        if len(data.numbers) != self._size:
            return self._as_usual(data, optim_wrapper)
        if self._taken < self.warmup:
            self._taken += 1
            return self._as_usual(data, optim_wrapper)
        if self._batch is None:
            self._record(data, optim_wrapper)
        return self._replay(data, optim_wrapper)

    def _forget(self) -> None:
        self._graph: Any = None
        self._batch: ResidentBatch | None = None
        self._outputs: dict[str, Tensor] = {}
        self._rates: list[Tensor] = []
        self._set_to: list[float] = []

    def _as_usual(self, data: ResidentBatch, optim_wrapper: OptimWrapper) -> Mapping[str, Tensor]:
        if self._side is None:
            return self._detached_step(data, optim_wrapper)
        # on the stream that will be recorded, as torch asks for
        current = torch.cuda.current_stream()
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            outputs = self._detached_step(data, optim_wrapper)
        current.wait_stream(self._side)
        return outputs

    def _record(self, data: ResidentBatch, optim_wrapper: OptimWrapper) -> None:
        device = data.numbers.device
        # without keys: a sample of the recording stands for another one in every step
        self._batch = ResidentBatch(data.source, data.numbers.clone(), None)
        self._set_to = [float(group['lr']) for group in optim_wrapper.optimizer.param_groups]
        self._rates = [torch.tensor(rate, device=device) for rate in self._set_to]
        self.recordings += 1
        if not self.capture:
            return
        steps = optim_wrapper._inner_count
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._side):
                self._outputs = self._static_step(optim_wrapper)
        except RuntimeError as error:
            raise RunError(f'the training step cannot be recorded as a CUDA graph ({error}). Something in it waits '
                           'for the device or copies from the host, such as .item() in a loss. Train without '
                           'capturing the step.') from error
        optim_wrapper._inner_count = steps  # nothing was computed yet
        self._graph = graph

    def _replay(self, data: ResidentBatch, optim_wrapper: OptimWrapper) -> Mapping[str, Tensor]:
        assert self._batch is not None
        self._batch.numbers.copy_(data.numbers, non_blocking=True)
        for place, group in enumerate(optim_wrapper.optimizer.param_groups):
            if group['lr'] != self._set_to[place]:
                self._set_to[place] = float(group['lr'])
                self._rates[place].fill_(self._set_to[place])
        if self._graph is None:
            return self._static_step(optim_wrapper)
        self._graph.replay()
        optim_wrapper._inner_count += 1
        return self._outputs

    def _static_step(self, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        with rates_as_tensors(optim_wrapper.optimizer, self._rates):
            return self._detached_step(self._batch, optim_wrapper)

    def _detached_step(self, data: ResidentBatch | None, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        outputs = self._train_step(data, optim_wrapper=optim_wrapper)
        return {name: value.detach() for name, value in outputs.items()}

    def _settings(self, data: ResidentBatch, optim_wrapper: OptimWrapper) -> tuple[Any, ...]:
        """What a recording holds for, and may change in the middle of a run."""
        model: Any = self.model
        head = getattr(getattr(model, 'student', model), 'head', None)
        groups = [{key: value for key, value in group.items() if key not in _NOT_RECORDED}
                  for group in optim_wrapper.optimizer.param_groups]
        return (model.training, getattr(model, 'distillation_stopped', False), getattr(head, 'loss_module', None),
                getattr(model.data_preprocessor, 'batch_augments', None), data.source.augment, groups)
