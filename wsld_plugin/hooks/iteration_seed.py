"""What a training step draws is a function of the seed, the iteration and the rank."""
from __future__ import annotations

from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from wsld_plugin.datasets.keyed import seed_everything
from wsld_plugin.registry import HOOKS


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Before every training iteration, seed `random`, numpy and torch from BLAKE2b(seed, iteration, rank).

    Torch is seeded on the CPU and on the rank's GPU. So the choices of Mixup and CutMix, dropout and stochastic depth
    are the same after a resume as without the interruption, whatever ran between two iterations. ``seed`` is the
    run's (``randomness`` of the config).

    Not covered: the augmentation of a sample, which `KeyedDataset` seeds; kernels that add in a varying order
    (``randomness.deterministic``); generators that a module keeps for itself; and a run with another number of ranks,
    where other batches are drawn.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed."""
        seed_everything('iteration', runner.seed, runner.iter, get_rank())
