"""A training config whose data live on the device."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.datasets.resident import DRAWS_NOTHING, check_supported, without_scope
from wsld_plugin.errors import ConfigError

_WRAPPERS = ('wsld_plugin.KeyedDataset', 'wsld_plugin.ResidentDataset')
# what only workers, and copies from them, make use of
_OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'pin_memory', 'pin_memory_device', 'timeout',
               'multiprocessing_context', 'worker_init_fn', 'in_order', 'disable_subprocess_warning')


def use_resident_data(cfg: Config) -> None:
    """Let the training set of a whole config live on the device, in place; see `ResidentDataset`.

    The data set and its pipeline, the order of the samples, the batch size and the schedule stay as they are. The
    loader has no workers any more. Validation is loaded as before. What is resident already stays.

    Args:
        cfg: the config, after options were merged into it.

    Raises:
        ConfigError: no training set; a transform that is not computed on the device; cached soft labels for augmented
            images, which were drawn otherwise.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    while isinstance(dataset, Mapping) and dataset.get('type') in _WRAPPERS:
        dataset = dataset['dataset']
    if not isinstance(dataset, Mapping):
        raise ConfigError(f'resident data: train_dataloader.dataset is {dataset!r}, expected the config of a data '
                          'set.')
    names = [_name(transform) for transform in dataset.get('pipeline') or ()]
    check_supported(names)
    drawn = {without_scope(name) for name in names} - {*DRAWS_NOTHING}
    if drawn and _name((cfg.get('model') or {}).get('teacher')).split('.')[-1] == 'CachedTeacher':
        raise ConfigError('resident data: the soft labels of a CachedTeacher belong to images that were augmented on '
                          'the CPU, and resident data are augmented by other random numbers. Load the data as usual, '
                          'or take the teacher itself.')
    key_training_set(cfg)
    loader = dict(cfg.train_dataloader)
    for key in _OF_WORKERS:
        loader.pop(key, None)
    cfg.train_dataloader = {**loader, 'num_workers': 0, 'collate_fn': {'type': 'wsld_plugin.whole_batch'},
                            'dataset': {'type': 'wsld_plugin.ResidentDataset', 'dataset': dataset}}


def _name(part: Any) -> str:
    kind = part.get('type') if isinstance(part, Mapping) else None
    return kind if isinstance(kind, str) else getattr(kind, '__name__', '')
