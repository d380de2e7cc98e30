"""Opening a cache for a run: checked against it, made where it is missing."""
from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from wsld_plugin.datasets import SampleKey
from wsld_plugin.errors import ConfigError

from .header import HEADER, Header
from .reader import SoftLabels
from .records import encode
from .replay import replay
from .settings import cached_teacher, needed_by, preprocessor_config
from .source import LiveTeacher, Source, TrainingSet
from .writer import writing

_REPORTS = 20
_LOOKED_AT = 16


def prepare(cfg: Config, folder: Path, dataset: TrainingSet, preprocessor: nn.Module, *, make: bool, verify: int,
            device: str | torch.device = 'cpu') -> SoftLabels:
    """The soft labels of a run.

    Args:
        cfg: its config, with a `CachedTeacher`.
        folder: of the cache.
        dataset: the training set.
        preprocessor: the student's; it comes back on ``device``.
        make: make what is missing, or go on with what was interrupted.
        verify: how many entries are computed again; see :func:`replay`.
        device: where the teacher runs.

    Raises:
        ConfigError: there is no cache, or another run's; the field is named.
    """
    teacher, needed = cached_teacher(cfg), {**needed_by(cfg), **_identity(dataset)}
    assert teacher is not None
    whole = (folder / HEADER).is_file()
    if whole or not make:
        SoftLabels(folder).header.check(needed, folder)
    if not teacher.get('model'):
        if not whole:
            raise ConfigError(f'{folder} holds no soft labels, and the config names no model.teacher.model that '
                              'could give them.')
        print_log(f'{folder}: whose soft labels these are cannot be checked, the config names no teacher.', 'current')
        return SoftLabels(folder)
    live = LiveTeacher(teacher['model'], teacher['checkpoint'], teacher.get('class_map'), preprocessor,
                       preprocessor_config(cfg))
    needed['teacher_weights'] = live.weights_hash()
    source = Source(dataset, cfg.train_dataloader, preprocessor, live, device)
    if not whole:
        first = SampleKey(needed['seed'], 0, 0)
        classes = next(source([first]))[0].shape[1]
        if needed.setdefault('num_classes', classes) != classes:
            raise ConfigError(f'the teacher gives {classes} classes and the student has {needed["num_classes"]}: '
                              'write the teacher\'s index of each student class as model.teacher.class_map.')
        if needed['top_k'] and needed['top_k'] >= classes:
            raise ConfigError(f'CachedTeacher: top_k={needed["top_k"]} of {classes} classes: leave top_k out to keep '
                              'all.')
        _make(folder, Header(**needed), source)
    labels = SoftLabels(folder)
    labels.header.check(needed, folder)
    if verify:
        worst = replay(labels, source, verify)
        print_log(f'{folder}: {verify} soft labels computed again, largest difference {worst:.1e} nats.', 'current')
    return labels


def _make(folder: Path, header: Header, source: Source) -> None:
    with writing(folder, header) as writer:
        start, every = writer.done, max(writer.total // _REPORTS, 1)
        print_log(f'{folder}: writing {writer.total:,} soft labels'
                  + (f', {start:,} are there' if start else '') + '.', 'current')
        told = place = start
        for logits, target in source(_Keys(header, start)):
            writer.append(encode(logits, target, header.top_k, header.tau))
            place += len(logits)
            if place - told >= every:
                told = place
                print_log(f'{folder}: {place / writer.total:.0%}', 'current')
        writer.finish()


class _Keys:
    """The keys of all records from number ``start``, without a list of them."""

    def __init__(self, header: Header, start: int) -> None:
        self.header = header
        self.numbers = range(start, header.views * header.num_samples)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[SampleKey]:
        for number in self.numbers:
            yield SampleKey(self.header.seed, *divmod(number, self.header.num_samples))


def _identity(dataset: Any) -> dict[str, Any]:
    """The fields of a `Header` that a data set tells.

    Its kind, its labels and a few images are hashed, all images of a packed one; where it is does not count.
    """
    plain = dataset.dataset
    parts = [type(plain).__name__, len(plain), getattr(plain, 'channel_order', None)]
    found = sha256(repr(parts).encode())
    if hasattr(plain, 'get_gt_labels'):
        found.update(np.asarray(plain.get_gt_labels(), dtype=np.int64).tobytes())
    if hasattr(plain, 'get_data_info'):
        for index in range(0, len(plain), max(len(plain) // _LOOKED_AT, 1)):
            info = plain.get_data_info(index)
            image = info.get('img')
            found.update(image.tobytes() if isinstance(image, np.ndarray)
                         else Path(str(info.get('img_path'))).name.encode())
    if hasattr(plain, 'pack'):
        found.update(repr(sorted(plain.pack.meta.sha256.items())).encode())
    return dict(dataset=found.hexdigest(), num_samples=len(plain))
