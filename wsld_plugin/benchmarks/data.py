"""Images a second through a training pipeline, as it is and decoding only what its crop needs."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import torch
from mmengine.dataset import Compose

from wsld_plugin.config.load import load_config
from wsld_plugin.datasets.keyed import seeded
from wsld_plugin.errors import check_choice

from .data_gate import check_pipelines
from .data_prediction import saved_seconds
from .data_samples import AS_IT_IS, pipelines_of, samples_of
from .report import header
from .run import CLOCKS
from .timing import Variant, compare, time_in_turns


def compare_pipelines(path: str, *, images: str | Path | None = None, most: int = 200, pairs: int = 20,
                      warmup: int = 1, threads: int = 1, clock: str = 'wall',
                      options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Time the training pipeline of a config with and without :func:`use_scaled_decoding`, in turns.

    Args:
        path: of a config with a ``train_dataloader``.
        images: a folder; None: the config's own data set.
        most: images of it that are taken.
        pairs: rounds, ≥ 2. In each, every pipeline goes through all images once, with the same crops and flips,
            which are others in the next round.
        warmup: rounds before them.
        threads: of OpenCV and PyTorch.
        clock: ``'wall'``, or ``'cpu'`` for processor time.
        options: what replaces settings of the config; dotted keys.

    Returns:
        The report, for :func:`markdown` and as data.

    Raises:
        ConfigError: a pipeline that is left as it is; no images.
        RefusedVariant: a pipeline that does not do the same; nothing was timed.
    """
    check_choice('clock', clock, CLOCKS)
    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)
    cfg = load_config(path, options)
    pipelines = pipelines_of(cfg)
    samples = samples_of(cfg, images, most)
    checked = check_pipelines(pipelines, samples)
    head = header(benchmark='data', config=path, images=len(samples), clock=clock, pairs=pairs, warmup=warmup)
    saved = {name: saved_seconds(pipeline, samples, CLOCKS[clock])
             for name, pipeline in pipelines.items() if name != AS_IT_IS}
    rows = compare(time_in_turns([_variant(name, pipeline, samples) for name, pipeline in pipelines.items()], pairs,
                                 warmup, clock=CLOCKS[clock]))
    first = rows[0].median
    return dict(head, rows=[
        dict(asdict(row), **checked[row.name], items_per_second=len(samples) / row.median / threads,
             predicted_ratio=1 - saved.get(row.name, 0.0) / first) for row in rows])


def _variant(name: str, pipeline: Compose, samples: Sequence[Mapping[str, Any]]) -> Variant:
    rounds = count()

    def step(number: int) -> None:
        with seeded('round', number):
            for sample in samples:
                pipeline(dict(sample))

    return Variant(name, step, lambda: next(rounds))
