"""Cached soft labels are opened, and checked, before the first step."""
from __future__ import annotations

from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from wsld_plugin.datasets import KeyedDataset, KeyedSampler, ResidentDataset
from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import HOOKS
from wsld_plugin.soft_labels.prepare import prepare
from wsld_plugin.soft_labels.reader import SoftLabels
from wsld_plugin.soft_labels.settings import cache_folder, cached_teacher, check_cached
from wsld_plugin.soft_labels.source import TrainingSet
from wsld_plugin.teachers import CachedTeacher


@HOOKS.register_module()
class SoftLabelsHook(Hook):
    """Open the cache of a `CachedTeacher`; idle for any other.

    The main process compares the cache with the run, field by field, makes it where ``make='missing'``, and computes
    a few entries again with the network, if the config names it; the network is gone afterwards. ``tools/train.py``
    adds this hook to a config by itself. The random state is left as it was.

    Args:
        verify: how many entries are computed again.

    Raises:
        ConfigError: no cache, another run's, or soft labels that the network does not give.
    """

    def __init__(self, verify: int = 8) -> None:
        self.verify = verify

    def before_train(self, runner: Runner) -> None:
        """Check and open."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        teacher = getattr(model, 'teacher', None)
        if not isinstance(teacher, CachedTeacher):
            return
        check_cached(runner.cfg)
        settings = cached_teacher(runner.cfg) or {}
        dataset = _training_set(runner.train_dataloader, settings.get('views', 1))
        folder = cache_folder(runner.cfg, runner.work_dir)
        if is_main_process():
            with torch.random.fork_rng(devices=[]):
                prepare(runner.cfg, folder, dataset, model.data_preprocessor, device=get_device(),
                        make=settings.get('make') == 'missing', verify=self.verify)
        barrier()
        teacher.open(SoftLabels(folder))


def _training_set(loader: Any, views: int) -> TrainingSet:
    """The set whose augmentation the loader repeats in so many views."""
    dataset = getattr(loader, 'dataset', None)
    dataset = getattr(dataset, '_dataset', dataset)  # mmengine's, for num_batch_per_epoch
    sampler = getattr(getattr(loader, 'batch_sampler', None), 'sampler', None)
    if type(loader) is not DataLoader or not isinstance(dataset, (KeyedDataset, ResidentDataset)) \
            or not isinstance(sampler, KeyedSampler) or sampler.views != views:
        raise ConfigError("a CachedTeacher needs a training set of wsld_plugin.KeyedDataset, in PyTorch's own "
                          f"loader, with sampler=dict(type='wsld_plugin.KeyedSampler', views={views}, sampler=…): "
                          'tools/train.py writes it so.')
    return dataset
