"""From the arguments of a command line to a run of mmengine's Runner."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from wsld_plugin.compat.safe_checkpoints import safe_load
from wsld_plugin.config.check import check_config
from wsld_plugin.config.data import check_data, check_teacher
from wsld_plugin.config.load import load_config
from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels.settings import cached_teacher, check_cached

from .accelerate import accelerate
from .flexible import settle_flexible
from .launch import launched
from .resume import newest_checkpoint, refuse_to_overwrite, weights_of
from .workers import end_workers, settle_workers


def training_config(config: str, *, work_dir: str | None = None, resume: bool | str = False,
                    amp: str | None = None, auto_scale_lr: bool = False, validate: bool = True,
                    options: dict[str, Any] | None = None, launcher: str = 'none') -> Config:
    """The config of one training run, checked.

    Args:
        config: path of the config file.
        work_dir: folder of the run; default: the config's own, else ``work_dirs/<name of the config>``.
        resume: True: continue from the newest checkpoint of the folder, or start where there is none; a path:
            continue from that one; False: start, and refuse a folder that holds checkpoints.
        amp: None, ``'bf16'`` or ``'fp16'``.
        auto_scale_lr: scale the learning rate with the real batch size.
        validate: False leaves out validation.
        options: dotted keys and values that replace the config's.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        ConfigError: anything in it that cannot be meant.
    """
    cfg = load_config(config, options)
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
    settle_workers(cfg)
    check_cached(cfg)
    cached = cached_teacher(cfg)
    key_training_set(cfg, views=cached.get('views', 1) if cached else None)
    accelerate(cfg)
    settle_flexible(cfg)
    check_config(cfg)
    return cfg


def train(cfg: Config) -> Runner:
    """Train as the config says; the runner afterwards."""
    check_data(cfg)
    check_teacher(cfg)
    with launched(cfg):
        runner = RUNNERS.build(cfg)
        try:
            runner.train()
        finally:
            end_workers(runner)
    return runner


def _set_resume(cfg: Config, resume: bool | str) -> None:
    if not resume:
        if not cfg.get('resume'):
            refuse_to_overwrite(cfg.work_dir)
        return
    found = newest_checkpoint(cfg.work_dir) if resume is True else Path(resume)
    if found is None:
        refuse_to_overwrite(cfg.work_dir)
        print_log(f'--resume: {cfg.work_dir} holds no checkpoint yet; the run starts from the beginning.')
        return
    if not weights_of(found).is_file():
        raise ConfigError(f'--resume {found}: no such file. Without a name, --resume takes the newest checkpoint of '
                          f'{cfg.work_dir}.')
    if found.is_dir():
        raise ConfigError(f'--resume {found}: the shards in it are pickles, and DeepSpeed would execute what they '
                          'hold. Resuming is refused; the weights are safe to test, or to export.')
    if resume is not True:
        _check_resumable(found)
    cfg.resume, cfg.load_from = True, str(found)


def _check_resumable(path: Path) -> None:
    lacking = {'optimizer', 'message_hub', 'meta'} - safe_load(path).keys()
    if lacking:
        raise ConfigError(f'--resume {path}: it has no {" and no ".join(sorted(lacking))}, only what a finished '
                          'model needs. Name a checkpoint of training, such as epoch_<n>.pth; to start from '
                          f'these weights instead, --cfg-options load_from={path}.')
