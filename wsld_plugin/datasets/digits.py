"""scikit-learn's handwritten digits: real images that need no download."""
from __future__ import annotations

from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset

from wsld_plugin.errors import ConfigError, check_choice
from wsld_plugin.registry import DATASETS

_SPLITS = ('train', 'test')
_TRAIN = 1200


@DATASETS.register_module()
class Digits(BaseDataset):
    """1,797 handwritten digits, 8×8 pixels, one grey channel, 10 classes.

    The images are the test part of the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin and
    Kaynak, 1998) as scikit-learn ships it. This data set's own split, the same for every user, is drawn once
    with a fixed seed: 1,200 to train, 597 to test. Grey values 0 … 16 are scaled to uint8 0 … 255.

    Args:
        split: ``'train'`` or ``'test'``.
        num_samples: take only the first ``num_samples`` of the split, in an order that is itself drawn once
            and holds the classes in equal parts; None: all.
        **kwargs: as for any mmpretrain data set (``pipeline``, ``test_mode``, …).

    Raises:
        ConfigError: an unknown split, or a ``num_samples`` that the split does not have.
    """

    METAINFO = {'classes': tuple(str(digit) for digit in range(10))}

    def __init__(self, split: str = 'train', num_samples: int | None = None, **kwargs: Any) -> None:
        check_choice('Digits: split', split, _SPLITS)
        self.split = split
        self.num_samples = num_samples
        kwargs.setdefault('ann_file', '')
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """The samples: ``img`` (8, 8, 1) uint8 and ``gt_label``."""
        from sklearn.datasets import load_digits
        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
        order = np.random.default_rng(0).permutation(len(images))
        order = order[:_TRAIN] if self.split == 'train' else order[_TRAIN:]
        order = _interleave_classes(order, digits.target)
        if self.num_samples is not None:
            if not 0 < self.num_samples <= len(order):
                raise ConfigError(f'Digits(split={self.split!r}, num_samples={self.num_samples}), expected 1 … '
                                  f'{len(order)}.')
            order = order[:self.num_samples]
        return [dict(img=images[index], gt_label=int(digits.target[index])) for index in order]


def _interleave_classes(order: np.ndarray, target: np.ndarray) -> np.ndarray:
    """One sample of each class in turn, as long as there are any, so that every beginning is balanced."""
    rank = np.empty(len(order), dtype=int)
    for label in np.unique(target):
        members = np.flatnonzero(target[order] == label)
        rank[members] = np.arange(len(members))
    return order[np.lexsort((target[order], rank))]
