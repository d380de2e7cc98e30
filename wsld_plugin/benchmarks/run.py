"""The benchmarks as the command line offers them."""
from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from wsld_plugin.errors import ConfigError, check_choice
from wsld_plugin.files import write_atomically

from .cached import open_cache
from .configs import own_image_size, read_training_config, train_steps
from .gate import check_agrees
from .ladder import Rung, rungs
from .ladder_report import ladder_markdown, ladder_report
from .monitor import monitor_markdown
from .report import as_json, header, markdown
from .step import TrainStep
from .timing import Variant, compare, time_in_turns
from .train import train_markdown

CLOCKS = dict(wall=time.perf_counter, cpu=time.process_time)
_AS_TEXT = dict(configs=markdown, step=ladder_markdown, train=train_markdown, monitor=monitor_markdown)


def compare_configs(paths: Sequence[str], *, pairs: int, warmup: int = 5, batch_size: int | None = None,
                    image_size: int | None = None, clock: str = 'wall',
                    options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Time a training step of each config, in turns.

    Args:
        paths: of training configs; the others are compared with the first.
        pairs: rounds, ≥ 2.
        warmup: rounds before them.
        batch_size: None: the configs' own.
        image_size: side of the square images in pixels; None: the configs' own.
        clock: ``'wall'``, or ``'cpu'`` for the processor time of all threads, which other processes disturb less;
            not with a CUDA device.
        options: what replaces settings of every config; dotted keys.

    Returns:
        The report, see :func:`as_json`.

    Raises:
        ConfigError: what cannot be built, measured or compared.
        RefusedVariant: a config whose first step is not finite or not repeatable; nothing was timed.
    """
    check_choice('clock', clock, CLOCKS)
    if clock == 'cpu' and torch.cuda.is_available():
        raise ConfigError("clock='cpu' does not see what a CUDA device does; use 'wall', or hide the device with "
                          'CUDA_VISIBLE_DEVICES=-1.')
    steps, batch_size, side = train_steps(paths, batch_size, image_size, options)
    for step in steps:
        step.check()
        step.stand_still()
    head = header(benchmark='configs', batch_size=batch_size, image_size=side, clock=clock, pairs=pairs,
                  warmup=warmup)
    memory = {step.name: step.peak_memory() for step in steps}
    synchronise = torch.cuda.synchronize if torch.cuda.is_available() else _no_device
    seconds = time_in_turns([Variant(step.name, step, step.new_batch) for step in steps], pairs, warmup, synchronise,
                            CLOCKS[clock])
    return as_json(head, compare(seconds), batch_size, memory)


def climb(path: str, *, pairs: int, warmup: int = 2, batch_size: int | None = None, image_size: int | None = None,
          chosen: Sequence[str] | None = None, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Time a distillation step from MMRazor's own to the fastest, in turns; see :func:`rungs`.

    All start from the same weights and see the same batch. Before anything is timed each must repeat its losses, and
    those of the first step must be MMRazor's: to five digits in float32, to 2 % in bfloat16.

    Args:
        path: of a training config.
        pairs: rounds, ≥ 2.
        warmup: rounds before them.
        batch_size: None: the config's own.
        image_size: side of the square images in pixels; None: the config's own.
        chosen: names of rungs beside the first; None: all that this machine can climb.
        options: what replaces settings of the config; dotted keys.

    Raises:
        ConfigError: a config without a ladder, or an unknown rung.
        RefusedVariant: a rung that computes something else; nothing was timed.
    """
    cfg = read_training_config(path, options)
    side = image_size or own_image_size(cfg)
    batch_size = batch_size or cfg.train_dataloader.batch_size
    ladder = rungs(cfg, side, chosen)
    head = header(benchmark='step', config=path, batch_size=batch_size, image_size=side, clock='wall', pairs=pairs,
                  warmup=warmup)
    with TemporaryDirectory() as caches:
        steps, losses = _checked_steps(ladder, batch_size, side, Path(caches))
        memory = {step.name: step.peak_memory() for step in steps}
        synchronise = torch.cuda.synchronize if torch.cuda.is_available() else _no_device
        seconds = time_in_turns([Variant(step.name, step, step.new_batch) for step in steps], pairs, warmup,
                                synchronise)
    return ladder_report(head, ladder, seconds, losses, memory)


def _checked_steps(ladder: Sequence[Rung], batch_size: int, side: int,
                   caches: Path) -> tuple[list[TrainStep], dict[str, dict[str, float]]]:
    steps: list[TrainStep] = []
    losses = {}
    for rung in ladder:
        steps.append(TrainStep(rung.name, rung.cfg, batch_size, side, like=steps[0] if steps else None))
        if len(steps) == 1:
            steps[0].sharpen(10)
        open_cache(steps[-1], steps[0], caches / rung.name)
        losses[rung.name] = steps[-1].check()
        if rung.tolerance is not None:
            check_agrees(rung.name, losses[ladder[0].name], losses[rung.name], rung.tolerance)
        steps[-1].stand_still()
    return steps, losses


def tell(report: Mapping[str, Any], out: str | Path | None = None) -> None:
    """Print a report as Markdown, and write it as JSON where ``out`` names a file."""
    print(_AS_TEXT[report['benchmark']](report))
    if out is not None:
        write_atomically(out, (json.dumps(report, indent=1) + '\n').encode())
        print(f'\nWritten: {out}')


def _no_device() -> None:
    return None
