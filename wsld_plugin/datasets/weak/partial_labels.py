"""Partial labels: of each sample only a set of candidates is known."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmpretrain.structures import DataSample

from wsld_plugin.errors import ConfigError
from wsld_plugin.losses.checks import HIDDEN
from wsld_plugin.registry import DATASETS

from .draws import candidate_sets
from .wrapper import WeakLabels, check_share


@DATASETS.register_module()
class PartialLabels(WeakLabels):
    """A data set whose samples come with a set of candidate classes in place of the label.

    ::

        Pr(y ∈ S) = 1 - Δ,    Pr(c ∈ S) = γ for each c ≠ y, independently;    soft_label = 1[c ∈ S]/|S|

    A set that would be empty holds one wrong class, drawn uniformly. The sets are drawn once, by (seed, index), and
    are the same for all runs of a config, as labels of people would be. ``data_samples.soft_label`` (C,) is read by
    :class:`wsld_plugin.teachers.GivenTeacher`; the label itself does not leave this data set: ``gt_label`` is -100,
    which a cross entropy leaves out.

    Args:
        dataset: the data set, or its config.
        unreliability: Δ, 0 … 1: the share of sets without the label.
        ambiguity: γ, 0 … 1: the share of sets that hold a given wrong class.
        seed: of the draw.

    Attributes:
        candidates: (N, C) bool, the sets.
        given_labels: (N,), the hidden labels, to measure with.

    Raises:
        ConfigError: a setting that makes no sense, or data without one label each.

    Unreliability and ambiguity: Yuan et al., Learning From Biased Soft Labels, NeurIPS 2023, arXiv 2302.08155.
    """

    def __init__(self, dataset: Any, unreliability: float = 0.0, ambiguity: float = 0.1, seed: int = 0) -> None:
        check_share('PartialLabels: unreliability', unreliability)
        check_share('PartialLabels: ambiguity', ambiguity)
        super().__init__(dataset)
        if self.num_classes < 2:
            raise ConfigError('PartialLabels: the data set has one class, expected 2 or more.')
        self.candidates = candidate_sets(self.given_labels, self.num_classes, unreliability, ambiguity, seed)

    def relabel(self, sample: DataSample, index: int) -> None:
        """Set ``soft_label`` and hide the label."""
        candidates = self.candidates[index].astype(np.float32)
        sample.set_field(torch.from_numpy(candidates / candidates.sum()), 'soft_label')
        sample.set_gt_label(HIDDEN)
