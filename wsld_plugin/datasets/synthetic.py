"""Images drawn from a distribution that is known, so that the true probability of every class is known too."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset

from wsld_plugin.errors import ConfigError, check_choice
from wsld_plugin.registry import DATASETS

_SPLITS = ('train', 'test')
_SIZES = dict(train=1200, test=600)
_STD = 64.0


@DATASETS.register_module()
class Mixture(BaseDataset):
    """A mixture of Gaussians, one a class, as 8×8 grey images: x = μ_y + 64·N(0, 1) for each pixel.

    ::

        p(y|x) ∝ π_y · exp(−‖x − μ_y‖² / (2·64²))

    The class means μ are drawn once about grey 128 and are the same for every user, split and seed: a seed draws
    other images of the same problem. Pixels are float32 and not clipped, so that the posterior is that of exactly
    the image that a network is given. It takes the place of `Digits` in the configs of the digits family.

    Args:
        split: ``'train'`` or ``'test'``: independent draws.
        num_samples: how many; None: 1,200 to train, 600 to test. Fewer are the first of more.
        seed: of the draw.
        num_classes: C ≥ 2.
        separation: root mean square distance between two class means, in standard deviations of the noise; the
            larger, the easier.
        priors: π, C numbers > 0 that sum to 1; None: equal.
        **kwargs: as for any mmpretrain data set (``pipeline``, ``test_mode``, …).

    Raises:
        ConfigError: an unknown split, or numbers that cannot be meant.
    """

    def __init__(self, split: str = 'train', num_samples: int | None = None, seed: int = 0, num_classes: int = 10,
                 separation: float = 4.0, priors: Sequence[float] | None = None, **kwargs: Any) -> None:
        check_choice('Mixture: split', split, _SPLITS)
        self.split, self.seed, self.num_classes = split, seed, num_classes
        self.num_samples = _SIZES[split] if num_samples is None else num_samples
        self.priors = np.full(num_classes, 1 / max(num_classes, 1)) if priors is None else np.asarray(priors, float)
        if num_classes < 2 or self.num_samples < 1 or not separation > 0:
            raise ConfigError(f'Mixture(num_classes={num_classes}, num_samples={num_samples}, '
                              f'separation={separation}), expected at least 2 classes, one sample, and a separation '
                              'above 0.')
        if self.priors.shape != (num_classes, ) or (self.priors <= 0).any() or abs(self.priors.sum() - 1) > 1e-6:
            raise ConfigError(f'Mixture(priors={priors}), expected {num_classes} numbers above 0 that sum to 1.')
        means = np.random.default_rng(0).standard_normal((num_classes, 8, 8))
        self.means = 128 + means * separation * _STD / np.sqrt(2 * 64)
        kwargs.setdefault('ann_file', '')
        kwargs['metainfo'] = {'classes': tuple(map(str, range(num_classes))), **(kwargs.get('metainfo') or {})}
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """The samples: ``img`` (8, 8, 1) float32 and ``gt_label``."""
        # one stream for labels and one for noise, so that fewer samples are the first of more
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
