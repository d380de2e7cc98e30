"""What a report is about: a teacher and labelled images, from a config."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from mmengine.registry import DefaultScope
from torch import Tensor

from wsld_plugin.config.check import check_config
from wsld_plugin.config.load import load_config
from wsld_plugin.datasets import KeyedDataset, SampleKey
from wsld_plugin.errors import ConfigError, RunError, check_choice
from wsld_plugin.models.export import is_distillation
from wsld_plugin.soft_labels.prepare import Source

from .fit import check_classes, check_trained_on
from .labels import check_labels, check_not_hidden
from .split import SPLITS, build_dataset, find_loader, spread
from .teacher import find_teacher


@dataclass(frozen=True)
class Subject:
    """A teacher and the images it is looked at on.

    Attributes:
        teacher: a few words that name it.
        made_from_labels: whether its soft labels are made from the labels alone.
        classes: names of the C classes.
        keys: of the samples.
        about: settings, for the report.
        notes: what a reader should know about how it is measured.
        dataset, source: the images, and what gives their soft labels.
        rgb: whether images of three channels come as RGB; else as BGR.
    """

    teacher: str
    made_from_labels: bool
    classes: list[str]
    keys: list[SampleKey]
    about: dict[str, Any]
    notes: list[str]
    dataset: KeyedDataset
    source: Source
    rgb: bool

    def batches(self) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        """Logits (n, C), labels (n,) and places in the data set, batch after batch.

        Raises:
            RunError: a sample that has not one class as label, or a hidden one.
        """
        place = 0
        batches = self.source(self.keys)
        while True:
            try:
                logits, target = next(batches)
                check_not_hidden(target)
            except StopIteration:
                return
            except ValueError as error:
                raise RunError(f'images from {self.keys[place].index} on: {error}') from error
            yield logits, target, [key.index for key in self.keys[place:place + len(logits)]]
            place += len(logits)

    def image(self, index: int) -> np.ndarray:
        """The image that the teacher saw at a place of the data set: (H, W) or (H, W, 3) uint8, RGB."""
        image = self.dataset[self.keys[0]._replace(index=index)]['inputs']
        if image.is_floating_point():  # normalised in the pipeline: its range is all that can be shown
            image = image - image.min()
            image = image * (255 / image.max().clamp(min=1e-12))
        array = image.clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        if array.shape[2] != 3:
            return array[..., 0]
        return array if self.rgb else array[..., ::-1]


def find_subject(config: str, checkpoint: str | None = None, *, split: str = 'test', device: Any = 'cpu',
                 max_samples: int | None = None, options: Mapping[str, Any] | None = None) -> Subject:
    """The teacher of a config, with its weights, and the images of one of its splits.

    Args:
        config: path of a classifier's config, or of a distillation's, whose teacher is taken: a network, an
            `EnsembleTeacher`, a `VirtualTeacher`, or the network behind a `CachedTeacher`; where the config names
            none, the cache itself in its first view, on the training images.
        checkpoint: file or URL of its weights; a distillation names those of its teacher itself.
        split: ``'test'``, or ``'train'``: the training images as a student sees them in its first epoch, augmented.
        device: where the teacher runs.
        max_samples: take only so many, in equal distances over the split; None: all.
        options: dotted keys and values that replace the config's.

    Raises:
        ConfigError: a setting, the data or the classes do not fit. CheckpointError, FileNotFoundError: the weights
            cannot be had. All of them before the teacher runs on more than one image.
    """
    check_choice('split', split, SPLITS)
    if max_samples is not None and max_samples < 1:
        raise ConfigError(f'max_samples={max_samples}: there would be no images; expected 1 or more.')
    cfg = load_config(config, options)
    check_config(cfg)
    if not isinstance(cfg.get('model'), Mapping):
        raise ConfigError(f'{config} has no model, so there is no teacher to look at: give the config of a '
                          'classifier, or of a distillation.')
    loader = find_loader(cfg, split)
    distilled, teacher_bn = is_distillation(cfg), cfg.model.get('teacher_bn', 'eval')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        dataset = build_dataset(loader['dataset'])
        teacher = find_teacher(cfg, config, checkpoint, split, dataset)
        keys = [SampleKey(teacher.seed, 0, index) for index in spread(len(dataset), max_samples)]
        check_labels(dataset, keys, loader['batch_size'])
        source = Source(dataset, loader, teacher.preprocessor, cast(Any, teacher.module), device)
        classes = check_classes(dataset, source, keys[0])
    if not distilled:
        check_trained_on(teacher.about['checkpoint'], classes)
    made_from_labels = bool(getattr(teacher.network, 'made_from_labels', False))
    notes = []
    if not made_from_labels and any(getattr(part, 'made_from_labels', False) for part in teacher.network.modules()):
        notes.append('A part of this teacher makes its soft labels from the labels: all looks better than what it '
                     'tells about images.')
    if teacher_bn != 'eval':
        notes.append(f"The config's teacher_bn={teacher_bn!r} is not looked at: here BatchNorm is in eval mode.")
    if split == 'train':
        notes.append('These are training images, with the augmentation of a first epoch: where the teacher was '
                     'trained on them too, it looks better than it is on others.')
    if len(keys) < len(dataset):
        notes.append(f'{len(keys):,} of {len(dataset):,} images were looked at; {len(dataset) - len(keys):,} were '
                     'left out (--max-samples).')
    about = dict(config=config, split=split, **teacher.about, device=str(device), batch_size=loader['batch_size'])
    return Subject(_name(teacher.network), made_from_labels, classes, keys, about, notes, dataset, source,
                   _is_rgb(dataset, teacher.preprocessor_cfg, keys[0]))


def _is_rgb(dataset: Any, preprocessor: Mapping[str, Any], key: SampleKey) -> bool:
    """The order of the channels before the preprocessor: files are read as BGR, arrays mostly are RGB."""
    order = getattr(dataset, 'channel_order', None)
    if order is not None:
        return order == 'rgb'
    return not (preprocessor.get('to_rgb') or 'img_path' in dataset[key]['data_samples'])


def _name(network: Any) -> str:
    backbone = getattr(network, 'backbone', None)
    return type(network).__name__ + (f' ({type(backbone).__name__})' if backbone is not None else '')
