"""Every training set with randomness that belongs to the sample."""
from __future__ import annotations

from collections.abc import Mapping

from mmengine.config import Config

_WRAPPERS = dict(dataset='wsld_plugin.KeyedDataset', sampler='wsld_plugin.KeyedSampler')


def key_training_set(cfg: Config) -> None:
    """Wrap the training set in `KeyedDataset` and its sampler in `KeyedSampler`; what is wrapped already stays.

    Done on the whole config, after options were merged into it, so that configs and ``--cfg-options
    train_dataloader.dataset.…`` keep the plain form.
    """
    loader = cfg.get('train_dataloader')
    if not isinstance(loader, Mapping):
        return
    keyed = dict(loader)
    for key, wrapper in _WRAPPERS.items():
        part = loader.get(key)
        if isinstance(part, Mapping) and part.get('type') != wrapper:
            keyed[key] = {'type': wrapper, key: part}
    cfg.train_dataloader = keyed  # a new one: a validation loader may be the same dict
