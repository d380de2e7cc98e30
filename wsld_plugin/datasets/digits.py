"""Small data without a download (digits, a Gaussian mixture with known posteriors), and parts of a data set."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.dist import sync_random_seed
from mmpretrain.datasets import BaseDataset

from wsld_plugin.errors import ConfigError, check_choice, check_integer, check_number
from wsld_plugin.registry import DATA_SAMPLERS, DATASETS

_SPLITS = ('train', 'test')
_STD = 64.0  # grey values, of the mixture's noise


@DATASETS.register_module()
class Digits(BaseDataset):
    """scikit-learn's handwritten digits: 1,797 images, 8×8 pixels, one grey channel, 10 classes.

    They are the test part of the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998). The
    split into 1,200 training and 597 test images is this data set's own, drawn once with a fixed seed. Grey values
    0 … 16 are scaled to uint8 0 … 255.

    Args:
        split: ``'train'`` or ``'test'``.
        num_samples: use only the first ``num_samples`` of the split, whose order is fixed and class-balanced; None:
            all.
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
        order = order[:1200] if self.split == 'train' else order[1200:]
        order = order[interleave_classes(digits.target[order])]
        if self.num_samples is not None:
            check_integer(f'Digits(split={self.split!r}): num_samples', self.num_samples, 1, len(order))
        return [dict(img=images[index], gt_label=int(digits.target[index])) for index in order[:self.num_samples]]


def interleave_classes(labels: np.ndarray) -> np.ndarray:
    """Indices that put samples with these labels (N,) into an order whose every beginning is class-balanced.

    >>> interleave_classes(np.array([0, 0, 1, 1, 0])).tolist()
    [0, 2, 1, 3, 4]
    """
    order = np.argsort(labels, kind='stable')
    rank = np.empty(len(labels), dtype=np.int64)  # of a sample within its class
    rank[order] = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    return np.lexsort((labels, rank))


@DATASETS.register_module()
class Mixture(BaseDataset):
    """A mixture of Gaussians, one per class, as 8×8 grey images: x = μ_y + 64·N(0, 1) for each pixel.

    ::

        p(y|x) ∝ π_y · exp(−‖x − μ_y‖² / (2·64²))

    The class means μ are drawn once around grey 128 and are the same for every split and seed: a seed draws other
    images of the same problem. Pixels are float32 and not clipped, so the posterior is exactly that of the image that
    a network receives. Can replace `Digits` in the configs of the digits family.

    Args:
        split: ``'train'`` or ``'test'``: independent draws.
        num_samples: how many; None: 1,200 to train, 600 to test. Fewer are the first of more.
        seed: of the draw.
        num_classes: C ≥ 2.
        separation: root mean square distance between two class means, in standard deviations of the noise; larger is
            easier.
        priors: π, C numbers > 0 that sum to 1; None: equal.
        **kwargs: as for any mmpretrain data set (``pipeline``, ``test_mode``, …).

    Raises:
        ConfigError: an unknown split, or a number out of range.
    """

    def __init__(self, split: str = 'train', num_samples: int | None = None, seed: int = 0, num_classes: int = 10,
                 separation: float = 4.0, priors: Sequence[float] | None = None, **kwargs: Any) -> None:
        check_choice('Mixture: split', split, _SPLITS)
        check_integer('Mixture: num_classes', num_classes, 2)
        check_number('Mixture: separation', separation, 0, inclusive=False)
        self.split, self.seed, self.num_classes = split, seed, num_classes
        self.num_samples = dict(train=1200, test=600)[split] if num_samples is None else num_samples
        check_integer('Mixture: num_samples', self.num_samples, 1)
        self.priors = np.full(num_classes, 1 / num_classes) if priors is None else np.asarray(priors, float)
        if self.priors.shape != (num_classes, ) or (self.priors <= 0).any() or abs(self.priors.sum() - 1) > 1e-6:
            raise ConfigError(f'Mixture: priors={priors}, expected {num_classes} numbers above 0 that sum to 1.')
        means = np.random.default_rng(0).standard_normal((num_classes, 8, 8))
        self.means = 128 + means * separation * _STD / np.sqrt(2 * 64)
        kwargs.setdefault('ann_file', '')
        kwargs['metainfo'] = {'classes': tuple(map(str, range(num_classes))), **(kwargs.get('metainfo') or {})}
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """The samples: ``img`` (8, 8, 1) float32 and ``gt_label``."""
        # separate streams for labels and noise, so that fewer samples are the first of more
        of_labels, of_noise = (np.random.default_rng([self.seed, _SPLITS.index(self.split), stream])
                               for stream in range(2))
        labels = of_labels.choice(self.num_classes, self.num_samples, p=self.priors)
        noise = of_noise.standard_normal((self.num_samples, 8, 8))
        images = (self.means[labels] + _STD * noise).astype(np.float32)[..., None]
        return [dict(img=image, gt_label=int(label)) for image, label in zip(images, labels, strict=True)]

    def posteriors(self) -> np.ndarray:
        """p(y|x) (N, C), float64, of every sample in order."""
        from scipy.special import softmax
        images = np.stack([self.get_data_info(index)['img'] for index in range(len(self))])
        differences = images.reshape(-1, 1, 64).astype(np.float64) - self.means.reshape(1, -1, 64)
        log_joint = np.log(self.priors) - (differences ** 2).sum(axis=-1) / (2 * _STD ** 2)
        return softmax(log_joint, axis=-1)


@DATA_SAMPLERS.register_module()
class PartSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` on one of several disjoint, class-balanced parts of any labelled data set.

    The samples are ordered by class, within a class at random with a fixed seed, and dealt to the parts in turn. So
    the counts of a class in two parts differ by at most 1, for any ``size``. The parts do not depend on the seed.

    Args:
        dataset: given by the Runner; ``get_gt_labels()`` gives its labels.
        parts: number of parts, 1 … the size of the data set.
        part: the index of the part, 0 … parts − 1; None: the seed mod ``parts``, so that runs over seeds are runs
            over parts.
        size: use only so many samples of the part, evenly over its classes; None: all.
        seed: given by the Runner.
        **kwargs: as for ``DefaultSampler``: ``shuffle``, ``round_up``.

    Raises:
        ConfigError: ``parts``, ``part`` or ``size`` is out of range.
    """

    def __init__(self, dataset: Any, parts: int, part: int | None = None, size: int | None = None,
                 seed: int | None = None, **kwargs: Any) -> None:
        labels = np.asarray(dataset.get_gt_labels())
        check_integer('PartSampler: parts', parts, 1, len(labels))
        seed = sync_random_seed() if seed is None else seed
        part = seed % parts if part is None else part
        check_integer('PartSampler: part', part, 0, parts - 1)
        smallest = len(labels) // parts
        size = smallest if size is None else size
        check_integer(f'PartSampler({len(labels)} samples in {parts} parts): size', size, 1, smallest)
        at_random = np.random.default_rng(0).permutation(len(labels))
        dealt = at_random[np.argsort(labels[at_random], kind='stable')][part::parts]
        self.indices = dealt[np.arange(size) * smallest // size]
        super().__init__(self.indices, seed=seed, **kwargs)

    def __iter__(self) -> Iterator[int]:
        return (int(self.indices[place]) for place in super().__iter__())
