"""Whether the labels of images can tell that a soft label is right."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wsld_plugin.datasets import KeyedDataset, SampleKey
from wsld_plugin.errors import ConfigError


def check_labels(dataset: KeyedDataset, keys: Sequence[SampleKey], batch_size: int) -> None:
    """Refuse labels that nothing can be measured against.

    Looked at are the first images, and the labels of all of them where ``get_gt_labels()`` tells them.

    Args:
        dataset: the images.
        keys: of those that are to be measured.
        batch_size: how many are loaded.

    Raises:
        ConfigError: targets that are not one class, no labels, hidden ones, or those of one class alone.
    """
    name, samples = type(dataset.dataset).__name__, [dataset[key]['data_samples'] for key in keys[:batch_size]]
    if any('gt_score' in sample or ('gt_label' in sample and sample.gt_label.numel() != 1) for sample in samples):
        raise ConfigError(f'the data set {name} gives probabilities or several classes as target: whether a soft '
                          'label is right can only be told where there is one right class. Take another split, or '
                          'give the checkpoint with a config of the same model and the plain data set, such as '
                          'configs/baselines/resnet18-w16_digits.py CHECKPOINT for '
                          'configs/biased/bad-teacher_resnet18-w16_digits.py.')
    if not all('gt_label' in sample for sample in samples):
        raise ConfigError(f'the data set {name} has no labels: whether a soft label is right cannot be told. Take a '
                          'split with labels.')
    loaded = torch.cat([sample.gt_label for sample in samples])
    labels = _told(dataset, keys, loaded)
    try:
        check_not_hidden(labels)
    except ValueError as error:
        raise ConfigError(f'images of {name}: {error}') from error
    if len(labels) == len(keys) and len(labels.unique()) == 1:
        label = int(labels[0])
        names = list((getattr(dataset, 'metainfo', None) or {}).get('classes') or [])
        called = f' ({names[label]})' if label < len(names) else ''
        more = (f'Give a larger --max-samples, or none: there are {len(dataset):,} images.'
                if len(keys) < len(dataset) else 'Take another split, or data of more classes.')
        raise ConfigError(f'of {name} {len(labels):,} image{"s are" if len(labels) > 1 else " is"} to be looked at, '
                          f'with no other label than {label}{called}: how often a wrong class is named can only be '
                          f'told from images of two classes or more. {more}')


def check_not_hidden(labels: Tensor) -> None:
    """Refuse labels below 0, as `PartialLabels` and `FewLabels` give them.

    Raises:
        ValueError: there are some; how many, and what to do.
    """
    hidden = int((labels < 0).sum())
    if hidden:
        raise ValueError(f'{hidden} of {len(labels)} labels are hidden or missing ({int(labels.min())}): whether a '
                         'soft label is right cannot be told, and nothing is measured. Take labelled images: another '
                         'split, or FewLabels with rest=False. How good the candidate sets of PartialLabels are is '
                         'told without a teacher, by wsld_plugin.datasets.weak.measure.')


def _told(dataset: KeyedDataset, keys: Sequence[SampleKey], loaded: Tensor) -> Tensor:
    """The labels of all keys; of the loaded samples, where the data set tells none or others than these have."""
    if not hasattr(dataset, 'get_gt_labels'):
        return loaded
    try:
        labels = np.asarray(dataset.get_gt_labels())
    except (KeyError, ValueError):  # a sample that has none, or several
        return loaded
    if labels.shape != (len(dataset), ) or labels.dtype.kind not in 'iu':
        return loaded
    chosen = torch.from_numpy(labels[[key.index for key in keys]].astype(np.int64))
    return chosen if torch.equal(chosen[:len(loaded)], loaded) else loaded
