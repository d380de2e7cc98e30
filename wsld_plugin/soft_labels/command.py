"""What ``tools/cache_soft_labels.py`` does."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DATASETS, MODELS, DefaultScope

from wsld_plugin.config.check import check_config
from wsld_plugin.config.data import check_data, check_teacher
from wsld_plugin.config.load import load_config
from wsld_plugin.datasets.keyed import key_training_set

from .convert import use_cached_labels
from .prepare import prepare
from .reader import SoftLabels
from .replay import check_bytes
from .settings import cache_folder, check_cached, preprocessor_config


def caching_config(config: str, *, views: int | None = None, top_k: int | None = None, out: str | None = None,
                   work_dir: str | None = None, options: dict[str, Any] | None = None) -> Config:
    """A training config that reads cached soft labels, checked.

    Args:
        config: path of a config, with a `CachedTeacher` or with the teacher itself.
        views, top_k: as for `CachedTeacher`; None: the config's own.
        out: folder of the cache; None: the config's own, else ``soft_labels`` in the run's folder.
        work_dir: folder of the run; default: the config's own, else ``work_dirs/<name of the config>``.
        options: dotted keys and values that replace the config's.

    Raises:
        ConfigError: anything in it that cannot be meant, or whose soft labels cannot be cached.
    """
    cfg = load_config(config, options)
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(config).stem)
    use_cached_labels(cfg, views=views, top_k=top_k)
    cfg.model.teacher.cache = str(out or cache_folder(cfg, cfg.work_dir))
    check_cached(cfg)
    key_training_set(cfg, views=cfg.model.teacher.get('views', 1))
    check_config(cfg)
    return cfg


def cache_soft_labels(cfg: Config, verify: int = 0) -> SoftLabels:
    """Write the soft labels that a config needs, unless they are there; compute ``verify`` of them again.

    Args:
        cfg: what :func:`caching_config` gave.
        verify: entries to compute again; more than 0: the SHA-256 of the file too.

    Raises:
        ConfigError: the folder holds those of another run; a soft label is not what the teacher gives.
    """
    check_data(cfg)
    check_teacher(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        preprocessor = MODELS.build({'_scope_': 'mmpretrain', **preprocessor_config(cfg)})
        labels = prepare(cfg, Path(cfg.model.teacher.cache), dataset, preprocessor, make=True, verify=verify,
                         device=get_device())
    if verify:
        check_bytes(labels)
    return labels
