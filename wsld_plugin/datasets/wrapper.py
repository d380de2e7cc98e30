"""A data set around another, whose attributes it passes through."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.registry import DATASETS


class DatasetWrapper:
    """What is the same for every data set that changes the samples of another.

    Args:
        dataset: the data set, or its config.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset

    def __len__(self) -> int:
        return len(self.dataset)

    # mmpretrain's SwitchRecipeHook sets it in the middle of a run
    @property
    def pipeline(self) -> Any:
        """The pipeline of the wrapped data set, which setting it replaces."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        self.dataset.pipeline = pipeline

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset' or name.startswith('__'):  # not there yet, while a worker unpickles this
            raise AttributeError(name)
        return getattr(self.dataset, name)
