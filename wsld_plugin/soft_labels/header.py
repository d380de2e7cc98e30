"""What a cache of soft labels was made of, and whether that is what a run needs."""
from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from wsld_plugin.errors import ConfigError, did_you_mean

FORMAT = 1
HEADER, RECORDS, PROGRESS = 'header.json', 'records.bin', 'progress.json'
DTYPE = 'float16'

_MAKE = 'Make it with `python tools/cache_soft_labels.py CONFIG`'
_ANEW = 'remove the folder and make the cache anew'
_WHAT_TO_DO = dict(
    format=f'It is of another version of this package: {_ANEW}',
    teacher_weights=f'The teacher was trained again, or is another one: name that teacher\'s checkpoint, or {_ANEW}',
    teacher_config=f'The teacher or its normalisation was changed: undo that, or {_ANEW}',
    pipeline=f'The training pipeline was changed, and with it the images: undo that, or {_ANEW}',
    data_preprocessor=f'What the model does with the images was changed: undo that, or {_ANEW}',
    dataset=f'Other samples, labels or channel order: train on that data set, or {_ANEW}',
    num_samples=f'Train on the data set that it was made of, or {_ANEW}',
    num_classes=f'Give the student the classes of the cache, or {_ANEW}',
    views=f'Set model.teacher.views to that of the cache, or {_ANEW}',
    seed=f'The augmentation follows the seed: set randomness.seed to that of the cache, or {_ANEW}',
    class_map=f'Set model.teacher.class_map to that of the cache, or {_ANEW}',
    tau=f'The tail was summed at that temperature: set tau of the loss to it, or {_ANEW}',
    top_k=f'Set model.teacher.top_k to that of the cache, or {_ANEW}',
    dtype=f'It is of another version of this package: {_ANEW}',
    teacher_bn=f'Set model.teacher_bn to that of the cache, or {_ANEW}')


@dataclass(frozen=True)
class Header:
    """What the records of a cache depend on.

    Args:
        teacher_weights: SHA-256 of the teacher's weights.
        teacher_config: of its config, with its normalisation.
        pipeline: of the transforms of the training set.
        data_preprocessor: of what the model does with a batch before it.
        dataset: of the kind, the labels and a few images of the training set, all where it is packed.
        num_samples: N.
        num_classes: C, the student's.
        views: V; the record of a sample in view v is number v·N + index.
        seed: of the augmentation.
        class_map: the teacher's index of each student class; None where they are the same.
        tau: temperature of the tail; None where all classes are kept.
        top_k: classes that are kept of each sample; None: all.
        dtype: of the logits.
        teacher_bn: mode of the teacher's BatchNorms.
        format: of the files.
    """

    teacher_weights: str
    teacher_config: str
    pipeline: str
    data_preprocessor: str
    dataset: str
    num_samples: int
    num_classes: int
    views: int
    seed: int
    class_map: tuple[int, ...] | None = None
    tau: float | None = None
    top_k: int | None = None
    dtype: str = DTYPE
    teacher_bn: str = 'eval'
    format: int = FORMAT

    def check(self, needed: Mapping[str, Any], where: Path) -> None:
        """Refuse a cache that is not the one that a run needs.

        Args:
            needed: fields by name; one that is left out is not looked at.
            where: the cache, for the message.

        Raises:
            ConfigError: a line for every field that differs: what the cache has, what the run has, what to do.
        """
        wrong = [f'{name}: the cache has {_short(have)}, this run {_short(needed[name])}. {_WHAT_TO_DO[name]}.'
                 for name, have in asdict(self).items() if name in needed and have != needed[name]]
        if wrong:
            raise ConfigError('\n  '.join([f'{where} holds the soft labels of another run:', *wrong]))

    def to_json(self, **more: Any) -> bytes:
        """The text of the file."""
        return (json.dumps({**asdict(self), **more}, indent=1) + '\n').encode()


def read_header(folder: Path, name: str = HEADER) -> tuple[Header, dict[str, Any]]:
    """The header in a cache's folder, and what the file says beside it.

    Raises:
        ConfigError: there is no such folder or file, it is not whole, or of another format.
    """
    path = folder / name
    if not path.is_file():
        raise ConfigError(_missing(folder))
    known = {field.name for field in fields(Header)}
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        if found['format'] != FORMAT:
            raise ConfigError(f'{path}: format={found["format"]!r}, expected {FORMAT}. {_WHAT_TO_DO["format"]}.')
        given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value
                                 for key, value in found.items()}
        header = Header(**{key: given[key] for key in known})
        sizes = (header.num_samples, header.num_classes, header.views)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f'sizes {sizes}')
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f'{path} is damaged ({type(error).__name__}: {error}): {_ANEW}.') from None
    return header, {key: value for key, value in found.items() if key not in known}


def _missing(folder: Path) -> str:
    if (folder / PROGRESS).is_file():
        return (f'{folder} holds soft labels that are not complete. The same command goes on where it was '
                'interrupted: `python tools/cache_soft_labels.py CONFIG`.')
    beside = os.listdir(folder.parent) if folder.parent.is_dir() and not folder.exists() else []
    return (f'{folder} holds no soft labels: there is no {HEADER}.{did_you_mean(folder.name, beside)} {_MAKE}, or '
            "set model.teacher.make='missing'.")


def _short(value: Any) -> str:
    text = repr(value)
    return f'{text[:12]}…' if isinstance(value, (str, tuple)) and len(text) > 24 else text
