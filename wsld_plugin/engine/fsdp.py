"""mmengine's FSDP strategy for distillation, with a GPU or without."""
from __future__ import annotations

import os
from typing import Any

import torch
from mmengine._strategy import FSDPStrategy as _FSDPStrategy
from mmengine.device import get_device
from mmengine.dist import is_main_process
from torch import nn
from torch.distributed.fsdp import FullOptimStateDictConfig, FullStateDictConfig

from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import STRATEGIES


@STRATEGIES.register_module()
class FSDPStrategy(_FSDPStrategy):
    """The student's weights, gradients and optimizer state in shards, one a process; the teacher whole in each.

    The teacher is no part of the model that is wrapped (:class:`wsld_plugin.teachers.FrozenTeacher`), so it is put on
    the device apart. Weights, optimizer state and the schedule are saved whole, in one file of the form that every
    run has: ``--resume``, with any number of processes, the exported student and ``tools/test.py`` work as always.

    Args:
        state_dict_cfg: ``'full'``. mmengine's ``'local'``, a folder of shards, is refused.
        **kwargs: as for mmengine's strategy; ``model_wrapper`` are the arguments of PyTorch's FSDP.

    Raises:
        ConfigError: another ``state_dict_cfg``.

    Differs from mmengine's: runs on a CPU too (gloo); ``sync_bn`` counts; a checkpoint takes its name when it is
    whole.
    """

    def __init__(self, *, state_dict_cfg: str = 'full', **kwargs: Any) -> None:
        if state_dict_cfg != 'full':
            raise ConfigError(f"strategy.state_dict_cfg={state_dict_cfg!r}, expected 'full': the student is exported "
                              'from a checkpoint that holds all weights, and a run resumes from it.')
        super().__init__(state_dict_cfg=state_dict_cfg, **kwargs)
        if get_device() == 'cpu':  # offloading from the CPU to the CPU frees the memory that is then read
            self.state_dict_config = FullStateDictConfig(rank0_only=True)
            self.optim_state_dict_config = FullOptimStateDictConfig(rank0_only=True)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        teacher = getattr(model, 'teacher', None)
        if isinstance(teacher, nn.Module):
            teacher.to(get_device())
        if get_device() == 'cpu':  # mmengine names a GPU by the number of the process
            given: dict[str, Any] = getattr(self, 'model_wrapper', None) or {}
            self.model_wrapper = {**given, 'device_id': torch.device('cpu')}
        return super()._wrap_model(self.convert_model(model))

    def save_checkpoint(self, filename: str, **kwargs: Any) -> None:
        """Write the checkpoint under another name, and rename it when it is whole."""
        unfinished = f'{filename}.unfinished'
        super().save_checkpoint(unfinished, **kwargs)
        if is_main_process():
            os.replace(unfinished, filename)
