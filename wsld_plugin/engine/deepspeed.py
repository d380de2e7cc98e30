"""mmengine's DeepSpeed strategy for distillation."""
from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine._strategy import DeepSpeedStrategy as _DeepSpeedStrategy
from mmengine.dist import barrier, is_main_process
from mmengine.runner.checkpoint import save_checkpoint, weights_to_cpu
from torch import nn

from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import STRATEGIES

from .resume import WEIGHTS


@STRATEGIES.register_module()
class DeepSpeedStrategy(_DeepSpeedStrategy):
    """DeepSpeed with the student's optimizer state (ZeRO stage 1) or its gradients too (stage 2) in shards.

    The teacher is no part of the model that DeepSpeed is given (:class:`wsld_plugin.teachers.FrozenTeacher`): whole
    in each process, in no shard and in no checkpoint. A checkpoint is a folder, ``epoch_<n>.pth/``, with DeepSpeed's
    shards and ``weights.pth``, a checkpoint of mmengine's form without the optimizer, from which the student is
    exported and which ``tools/test.py`` reads. The shards are never read: DeepSpeed would execute what is pickled in
    them, so a run cannot be resumed.

    Args:
        **kwargs: as for mmengine's strategy.

    Raises:
        ConfigError: DeepSpeed is not installed; ZeRO stage 3, where no process has the weights whole.

    Differs from mmengine's: hooks see a checkpoint before it is written, so that no loss that is not finite gets into
    one; ``--auto-scale-lr`` counts; the batch size reaches DeepSpeed whatever this class is called.
    """

    def __init__(self, **kwargs: Any) -> None:
        if find_spec('deepspeed') is None:
            raise ConfigError('strategy: DeepSpeed is not installed (pip install deepspeed). Without it, '
                              "type='wsld_plugin.FSDPStrategy' keeps the same state in shards.")
        super().__init__(**kwargs)
        stage = self.config.get('zero_optimization', {}).get('stage', 0)
        if stage not in (0, 1, 2):
            raise ConfigError(f'strategy.zero_optimization.stage={stage!r}, expected 1 or 2: the student is exported '
                              'from weights that are whole. A student that does not fit needs '
                              "type='wsld_plugin.FSDPStrategy'.")

    def build_optim_wrapper(self, *args: Any, **kwargs: Any) -> Any:
        """The optimizer wrapper as mmengine builds it, its learning rate scaled where that is asked for."""
        self.optim_wrapper = super().build_optim_wrapper(*args, **kwargs)
        self._scale_lr()
        return self.optim_wrapper

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        self.config.setdefault('train_micro_batch_size_per_gpu',
                               self.dispatch_kwargs.get('train_micro_batch_size_per_gpu', 1))
        return super()._wrap_model(model)

    def load_checkpoint(self, filename: str, **kwargs: Any) -> dict:
        """Refused: see above."""
        raise ConfigError(f'{filename}: DeepSpeed would execute what is pickled in a checkpoint, so none is loaded. '
                          'Start from the weights of a plain run with the plain Runner, or with FSDPStrategy.')

    resume = load_checkpoint

    def save_checkpoint(self, filename: str, *, extra_ckpt: dict[str, Any] | None = None,
                        callback: Callable[[dict[str, Any]], None] | None = None, **kwargs: Any) -> None:
        """Write the folder; every process calls this."""
        extra = dict(extra_ckpt or {})
        weights = {'state_dict': weights_to_cpu(self.model.module.state_dict()), **extra}
        if callback is not None:
            callback(weights)
        extra.update({key: weights[key] for key in extra})
        super().save_checkpoint(filename, extra_ckpt=extra, **kwargs)
        barrier()  # all shards are there
        if is_main_process() and Path(filename).is_dir():
            save_checkpoint(weights, str(Path(filename, WEIGHTS)))
