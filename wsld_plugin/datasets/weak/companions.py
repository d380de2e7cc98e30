"""Random wrong classes beside each label, for a teacher that is to be bad but skillful."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmpretrain.structures import DataSample

from wsld_plugin.registry import DATASETS

from .draws import companions
from .wrapper import WeakLabels, check_count


@DATASETS.register_module()
class Companions(WeakLabels):
    """A data set that tells :class:`wsld_plugin.losses.BadTeacherLoss` which wrong classes stand beside the label.

    Each sample gets k - 1 of the C - 1 wrong classes, every choice as likely as any other, drawn once by (seed,
    index). They travel as a target of probabilities, ``gt_score`` (C,): 2/(k + 1) for the label, 1/(k + 1) for each
    companion, 0 for the rest. With such sets in its first k places a teacher has Δ_k = 0 and γ_k = (k - 1)/(C - 1),
    the least for Δ_k = 0, k classes and no class favoured.

    Args:
        dataset: the data set, or its config.
        k: 2 … C.
        seed: of the draw.

    Attributes:
        companions: (N, C) bool.

    Raises:
        ConfigError: a k that the classes do not allow.
    """

    def __init__(self, dataset: Any, k: int = 3, seed: int = 0) -> None:
        super().__init__(dataset)
        check_count('Companions: k', k, 2, self.num_classes)
        self.k = k
        self.companions = companions(self.given_labels, self.num_classes, k - 1, seed)

    def relabel(self, sample: DataSample, index: int) -> None:
        """Set ``gt_score``."""
        score = self.companions[index].astype(np.float32)
        score[self.given_labels[index]] = 2
        sample.set_gt_score(torch.from_numpy(score / (self.k + 1)))
