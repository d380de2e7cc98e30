"""Every training set with randomness that belongs to the sample."""
from __future__ import annotations

from collections.abc import Mapping

from mmengine.config import Config

from wsld_plugin.soft_labels.config import cached_teacher, check_cached

_WRAPPERS = dict(dataset='wsld_plugin.KeyedDataset', sampler='wsld_plugin.KeyedSampler')


def key_training_set(cfg: Config) -> None:
    """Wrap the training set in `KeyedDataset` and its sampler in `KeyedSampler`; what is wrapped already stays.

    Done on the whole config, after options were merged into it, so that configs and ``--cfg-options
    train_dataloader.dataset.…`` keep the plain form. For a `CachedTeacher` the sampler repeats the views of the
    cache, and the hook that opens it is there.

    Raises:
        ConfigError: soft labels that cannot be cached; see :func:`wsld_plugin.soft_labels.config.check_cached`.
    """
    loader = cfg.get('train_dataloader')
    if not isinstance(loader, Mapping):
        return
    keyed = dict(loader)
    for key, wrapper in _WRAPPERS.items():
        part = loader.get(key)
        if isinstance(part, Mapping) and part.get('type') != wrapper:
            keyed[key] = {'type': wrapper, key: part}
    teacher = cached_teacher(cfg)
    if teacher is not None:
        check_cached(cfg)
        if isinstance(keyed.get('sampler'), Mapping):
            keyed['sampler'] = {'views': teacher.get('views', 1), **keyed['sampler']}
        cfg.setdefault('default_hooks', {}).setdefault('soft_labels', dict(type='wsld_plugin.SoftLabelsHook'))
    cfg.train_dataloader = keyed  # a new one: a validation loader may be the same dict
