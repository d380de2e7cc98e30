"""Whether a training set has images enough for its parts."""
from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from wsld_plugin.errors import ConfigError

FEWEST = 2  # of a part: batch normalisation learns from no single image


class ImageCounts:
    """Counts the images of training sets, each built once."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def check(self, config: Path, cfg: Config, parts: int, size: int | None) -> None:
        """Raise :class:`ConfigError` where a part of the training set of ``cfg`` has too few images.

        Args:
            config: the path of ``cfg``.
            cfg: a config with a ``train_dataloader``.
            parts: disjoint parts of the training set.
            size: images of a part that are used; None: all.
        """
        scope, dataset = cfg.get('default_scope') or 'mmengine', cfg.train_dataloader.dataset
        key = f'{scope} {dataset}'
        if key not in self._counts:
            with DefaultScope.overwrite_default_scope(scope):
                self._counts[key] = len(DATASETS.build(dataset))
        count, needed = self._counts[key], max(size or 0, FEWEST)
        if count // parts >= needed:
            return
        most = count // needed
        raise ConfigError(f'{config}: parts={parts}, size={size}: the training set has {count} images, '
                          f'{count // parts} a part, expected {needed} or more. '
                          + (f'Take {most} parts or fewer' if most >= FEWEST else 'Take fewer parts')
                          + (f', or a size of {FEWEST} … {count // parts}.' if count // parts >= FEWEST else '.'))
