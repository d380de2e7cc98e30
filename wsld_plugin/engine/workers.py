"""The worker processes of data loaders: none where none are wanted, none left behind."""
from __future__ import annotations

from collections.abc import Mapping

from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import DataLoader

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Settings of workers, which PyTorch refuses where there are none.
_OF_WORKERS = ('persistent_workers', 'prefetch_factor')


def settle_workers(cfg: Config) -> None:
    """Take the settings of workers from loaders with ``num_workers=0``, in place."""
    for name in _LOADERS:
        loader = cfg.get(name)
        if isinstance(loader, Mapping) and loader.get('num_workers') == 0:
            cfg[name] = {key: value for key, value in loader.items() if key not in _OF_WORKERS}


def end_workers(runner: Runner) -> None:
    """End the persistent workers of a run's loaders.

    Left to the garbage collector they would be waited for in vain, 5 s each: it frees the queue that tells them to
    end before it asks them to.
    """
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        loader = getattr(loop, 'dataloader', None)
        if isinstance(loader, DataLoader):
            loader._iterator = None
