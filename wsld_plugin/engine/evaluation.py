"""Testing a trained classifier, without its teacher."""
from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from wsld_plugin.config.check import check_config, check_data
from wsld_plugin.config.load import load_config
from wsld_plugin.errors import ConfigError
from wsld_plugin.files import write_atomically
from wsld_plugin.models.checkpoint import load_classifier
from wsld_plugin.models.export import classifier_config

from .launch import launched
from .splits import check_splits


def evaluation_config(config: str, *, work_dir: str | None = None, options: dict[str, Any] | None = None,
                   launcher: str = 'none') -> Config:
    """The config that tests a training config's classifier alone: no teacher is built or loaded.

    Args:
        config: path of a training config, or of an exported ``student.py``.
        work_dir: folder for the log; default: ``work_dirs/<name of the config>``.
        options: dotted keys and values that replace the config's.
        launcher: as for training.
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


def evaluate(cfg: Config, checkpoint: str, out: str | None = None) -> dict[str, float]:
    """Test a checkpoint of any kind that :func:`wsld_plugin.models.checkpoint.load_classifier` recognises.

    Args:
        cfg: what :func:`evaluation_config` gave.
        checkpoint: file or URL.
        out: a JSON file to write the metrics to.

    Returns:
        The metrics by name, as the config's ``test_evaluator`` gives them.
    """
    check_data(cfg)
    with launched(cfg):
        runner = Runner.from_cfg(cfg)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        check_splits(runner, 'test')
        meta = load_classifier(model, checkpoint)
        _check_classes(meta.get('dataset_meta') or {}, runner.test_dataloader.dataset.metainfo, checkpoint)
        metrics = runner.test()
        if out and is_main_process():
            write_atomically(out, (json.dumps(metrics, indent=2) + '\n').encode())
    return metrics


def _check_classes(trained: Mapping[str, Any], tested: Mapping[str, Any], checkpoint: str) -> None:
    """A label is a place in the list of classes: other lists make an accuracy meaningless."""
    before, now = trained.get('classes'), tested.get('classes')
    if before and now and list(before) != list(now):
        differ = [f'{index}: {a} / {b}' for index, (a, b) in enumerate(zip_longest(before, now)) if a != b]
        raise ConfigError(f'{checkpoint} was trained on {len(before)} classes and the test set has {len(now)}, or in '
                          f'another order (trained / tested): {", ".join(differ[:4])}. Test on the same classes.')
