"""That a faster pipeline draws the same boxes and gives the same pixels, or near ones, before it is timed."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose

from wsld_plugin.datasets.keyed import seeded

from .data_samples import AS_IT_IS, EXACT
from .gate import RefusedVariant

# Of noise that bilinear resizing skips through and scaling averages, about 5; of another box, tens.
LIMIT = 10.0


def check_pipelines(pipelines: Mapping[str, Compose], samples: Sequence[Mapping[str, Any]]) -> dict[str, dict]:
    """Refuse a pipeline that does not do what the first does.

    For each sample, from the same seed, it must draw as many random numbers, note the same sizes and flips, and give
    the same pixels; where it may scale, pixels that differ on average by at most 10 grey levels over the images that
    differ at all.

    Args:
        pipelines: by name; the first is what the others are compared with.
        samples: what they are given.

    Returns:
        By name, ``changed``: the share of images that differ; ``difference``: their mean absolute difference in grey
        levels.

    Raises:
        RefusedVariant: naming the pipeline and the image.
    """
    differences: dict[str, list[float]] = {name: [] for name in pipelines}
    for index, sample in enumerate(samples):
        expected = _outcome(pipelines[AS_IT_IS], sample, index)
        for name, pipeline in pipelines.items():
            found = _outcome(pipeline, sample, index)
            image = sample.get('img_path', index)
            if found[1:] != expected[1:]:
                raise RefusedVariant(f'{name} is not timed: for {image} it does not draw the same crop and flip.')
            difference = (found[0].float() - expected[0].float()).abs().mean().item()
            if difference and name in (AS_IT_IS, EXACT):
                raise RefusedVariant(f'{name} is not timed: the pixels of {image} are not the same, but differ by '
                                     f'{difference:.3g} grey levels.')
            differences[name].append(difference)
    return {name: _summary(name, np.array(each)) for name, each in differences.items()}


def _outcome(pipeline: Compose, sample: Mapping[str, Any], index: int) -> tuple[torch.Tensor, Any, float]:
    with seeded('check', index):
        found = pipeline(dict(sample))
        return found['inputs'], found['data_samples'].metainfo, np.random.random()  # noqa: NPY002


def _summary(name: str, differences: np.ndarray) -> dict[str, float]:
    changed = differences[differences > 0]
    mean = float(changed.mean()) if changed.size else 0.0
    if mean > LIMIT:
        raise RefusedVariant(f'{name} is not timed: where its pixels differ, they do by {mean:.3g} grey levels on '
                             f'average; at most {LIMIT} are expected.')
    return dict(changed=changed.size / differences.size, difference=mean)
