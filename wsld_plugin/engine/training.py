"""Training and testing: from the arguments of a command line to a run of mmengine's Runner."""
from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import distributed
from torch.utils.data import DataLoader

from wsld_plugin.config.check import check_config, check_data, check_teacher
from wsld_plugin.config.load import load_config
from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.errors import ConfigError
from wsld_plugin.files import to_json, write_atomically
from wsld_plugin.hooks.run_folder import check_resumable, checkpoints, newest_whole, occupied, refuse_to_overwrite
from wsld_plugin.models.checkpoint import load_classifier
from wsld_plugin.models.export import classifier_config
from wsld_plugin.soft_labels.config import cached_teacher, check_cached

from .accelerate import accelerate
from .launch import launched
from .splits import check_splits


def training_config(config: str, *, work_dir: str | None = None, resume: bool | str = False,
                    amp: str | None = None, auto_scale_lr: bool = False, validate: bool = True,
                    options: dict[str, Any] | None = None, launcher: str = 'none') -> Config:
    """Load and check the config of one training run.

    Args:
        config: path of the config file.
        work_dir: folder of the run; default: the config's own, else ``work_dirs/<name of the config>``.
        resume: True: resume from the newest checkpoint in the folder, or start where there is none. A path: resume
            from that checkpoint. False: start, and reject a folder that holds checkpoints.
        amp: None, ``'bf16'`` or ``'fp16'``.
        auto_scale_lr: scale the learning rate with the real batch size.
        validate: False: train without validation.
        options: dotted keys and values that replace the config's.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        ConfigError: an invalid part of the config.
    """
    cfg = load_config(config, options)
    if not cfg.get('model'):
        raise ConfigError(f'{config} has no model, so there is nothing to train.')
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(config).stem)
    if amp:
        cfg.merge_from_dict({'accelerate.amp': amp})
    if auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ConfigError('--auto-scale-lr needs the batch size that the learning rate is meant for: '
                              'auto_scale_lr = dict(base_batch_size=256) in the config.')
        cfg.auto_scale_lr.enable = True
    if not validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    _set_resume(cfg, resume)
    drop_worker_settings(cfg)
    check_config(cfg)
    check_cached(cfg)
    cached = cached_teacher(cfg)
    key_training_set(cfg, views=cached.get('views', 1) if cached else None)
    accelerate(cfg)
    return cfg


def train(cfg: Config, *hooks: Hook) -> Runner:
    """Train a config from :func:`training_config`, with ``hooks`` beside its own; return the runner afterwards."""
    check_data(cfg)
    check_teacher(cfg)
    with launched(cfg), occupied(cfg.work_dir, bool(cfg.get('resume'))) if is_main_process() else nullcontext():
        if distributed.is_initialized():
            distributed.barrier()  # the folder is clear
        if cfg.get('resume') and not cfg.get('load_from'):
            cfg.resume = False  # nothing to resume: mmengine would look for a checkpoint again
        runner = RUNNERS.build(cfg)
        for hook in hooks:
            runner.register_hook(hook)
        try:
            check_splits(runner, 'train', 'val')
            runner.train()
        finally:
            end_workers(runner)
    return runner


def drop_worker_settings(cfg: Config) -> None:
    """Remove settings that PyTorch rejects without workers from loaders with ``num_workers=0``, in place."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if isinstance(loader, Mapping) and loader.get('num_workers') == 0:
            cfg[name] = {key: value for key, value in loader.items()
                         if key not in ('persistent_workers', 'prefetch_factor')}


def end_workers(runner: Runner) -> None:
    """End the persistent workers of a run's loaders.

    The garbage collector would wait 5 s for each in vain: it frees their queue before it asks them to end.
    """
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        loader = getattr(loop, 'dataloader', None)
        if isinstance(loader, DataLoader):
            loader._iterator = None


def _set_resume(cfg: Config, resume: bool | str) -> None:
    """Set ``resume`` and ``load_from``; the former in the config means what it means on the command line."""
    if not resume and cfg.get('resume'):
        resume = cfg.get('load_from') or True
    if int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)) and not (resume and not checkpoints(cfg.work_dir)):
        resume = True  # torchrun started this process again: go on from its own checkpoints
    if not resume:
        refuse_to_overwrite(cfg.work_dir)
        return
    if resume is True:
        found = newest_whole(cfg.work_dir)
    else:
        found = (path := Path(resume).expanduser()), check_resumable(path)
    cfg.resume, cfg.load_from = True, found and str(found[0])
    if found is None:
        print_log(f'--resume: {cfg.work_dir} holds no checkpoint yet; the run starts from the beginning.')
        return
    seed, given = found[1].get('seed'), (cfg.get('randomness') or {}).get('seed')
    if seed is not None and seed != given:  # the loaders are built before mmengine reads the checkpoint
        cfg.merge_from_dict({'randomness.seed': seed})
        print_log(f'--resume: randomness.seed is {seed} as in {found[0]}, not {given}.')


def evaluation_config(config: str, *, work_dir: str | None = None, options: dict[str, Any] | None = None,
                      launcher: str = 'none') -> Config:
    """Load and check the config that tests the classifier of a training config; no teacher is built or loaded.

    Args:
        config: path of a training config, or of an exported ``student.py``.
        work_dir, options, launcher: as of :func:`training_config`.
    """
    full = load_config(config, options, teacher=False)
    if full.get('test_dataloader') is None:
        raise ConfigError(f'{config} has no test_dataloader, so there is nothing to test on.')
    cfg = classifier_config(full)
    for key in ('experiment_name', 'env_cfg', 'log_level', 'visualizer', 'randomness', 'custom_imports'):
        if key in full:
            cfg[key] = full[key]
    cfg.launcher = launcher
    cfg.work_dir = work_dir or full.get('work_dir') or str(Path('work_dirs') / Path(config).stem)
    check_config(cfg)
    return cfg


def evaluate(cfg: Config, checkpoint: str, out: str | None = None) -> dict[str, Any]:
    """Test a checkpoint of any kind that :func:`wsld_plugin.models.checkpoint.load_classifier` recognises.

    Args:
        cfg: a config from :func:`evaluation_config`.
        checkpoint: file or URL.
        out: a JSON file for the returned metrics of ``test_evaluator``, by name.

    Raises:
        ConfigError: the checkpoint was trained on other classes, or on the same in another order.
    """
    check_data(cfg)
    with launched(cfg):
        runner = Runner.from_cfg(cfg)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        check_splits(runner, 'test')
        trained = (load_classifier(model, checkpoint).get('dataset_meta') or {}).get('classes')
        tested = runner.test_dataloader.dataset.metainfo.get('classes')
        if trained and tested and list(trained) != list(tested):
            differ = [f'{index}: {a} / {b}' for index, (a, b) in enumerate(zip_longest(trained, tested)) if a != b]
            raise ConfigError(f'{checkpoint} was trained on {len(trained)} classes and the test set has '
                              f'{len(tested)}, or in another order (trained / tested): {", ".join(differ[:4])}. Test '
                              'on the same classes.')
        metrics = runner.test()
        if out and is_main_process():
            write_atomically(out, to_json(metrics))
    return metrics
