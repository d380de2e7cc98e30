"""The subject of a report: the teacher of a config, and the labelled images of one of its splits."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from wsld_plugin.config.check import check_config, check_data, check_teacher
from wsld_plugin.config.load import load_config
from wsld_plugin.config.models import build_model, student_model_cfg
from wsld_plugin.datasets import KeyedDataset, SampleKey
from wsld_plugin.errors import ConfigError, RunError, check_choice, check_integer
from wsld_plugin.models.export import is_distillation
from wsld_plugin.soft_labels.config import cache_folder, preprocessor_config, use_cached_labels
from wsld_plugin.soft_labels.prepare import Source
from wsld_plugin.soft_labels.store import SoftLabels
from wsld_plugin.teachers.network import TeacherNetwork

SPLITS = dict(train=('train_dataloader', ), test=('test_dataloader', 'val_dataloader'))


@dataclass(frozen=True)
class Subject:
    """A teacher and the images that it is measured on.

    Attributes:
        teacher, made_from_labels: its name, and whether its soft labels are computed from the labels alone.
        classes, keys: names of the C classes, and keys of the samples.
        about, notes: settings, and remarks on the measurement.
        dataset, source: the images, and the source of their soft labels.
        rgb: whether images of three channels are RGB; else BGR.
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
        """Batches of logits (n, C), labels (n,) and indices. RunError if a label is hidden, or not one class."""
        place = 0
        try:
            for logits, target in self.source(self.keys):
                _check_not_hidden(target)
                yield logits, target, [key.index for key in self.keys[place:place + len(logits)]]
                place += len(logits)
        except ValueError as error:
            raise RunError(f'images from {self.keys[place].index} on: {error}') from error

    def image(self, index: int) -> np.ndarray:
        """The image of an index of the data set as the teacher saw it: (H, W) or (H, W, 3) uint8, RGB."""
        image = self.dataset[self.keys[0]._replace(index=index)]['inputs']
        if image.is_floating_point():  # normalised in the pipeline: only its range is known
            image = image - image.min()
            image = image * (255 / image.max().clamp(min=1e-12))
        array = image.clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        if array.shape[2] != 3:
            return array[..., 0]
        return array if self.rgb else array[..., ::-1]


def find_subject(config: str, checkpoint: str | None = None, *, split: str = 'test', device: Any = 'cpu',
                 max_samples: int | None = None, options: Mapping[str, Any] | None = None) -> Subject:
    """Build the teacher of a config, with its weights, and the images of one of its splits.

    Args:
        config: path of a classifier's config, or of a distillation's, whose teacher is used; of a `CachedTeacher`
            without a network, the cache itself in its first view, on the training images.
        checkpoint: file or URL of the weights; a distillation names those of its teacher itself.
        split: ``'test'``, or ``'train'``: the training images as a student sees them in its first epoch, augmented.
        device: of the teacher.
        max_samples: use at most so many images, at equal distances over the split; None: all.
        options: dotted keys and values that override the config's.

    Raises:
        ConfigError: a setting, the data or the classes do not fit. CheckpointError, FileNotFoundError: the weights
            cannot be loaded. All of them before the teacher runs on more than one image.
    """
    check_choice('split', split, SPLITS)
    if max_samples is not None:
        check_integer('max_samples', max_samples, 1)
    cfg = load_config(config, options)
    check_config(cfg)
    if not isinstance(cfg.get('model'), Mapping):
        raise ConfigError(f'{config} has no model, and so no teacher: give the config of a classifier, or of a '
                          'distillation.')
    loader = find_loader(cfg, split)
    distilled, teacher_bn = is_distillation(cfg), cfg.model.get('teacher_bn', 'eval')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        dataset = build_dataset(loader['dataset'])
        seed, about = 0, dict[str, Any](config=config, split=split)
        if distilled:
            use_cached_labels(cfg)  # teacher, checkpoint and class map in one place
            settings, seen = cfg.model.teacher, preprocessor_config(cfg)
        else:
            model = student_model_cfg(cfg.model, cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor'))
            seen = {key: value for key, value in model['data_preprocessor'].items() if key != 'batch_augments'}
            settings = dict(model={**model, 'data_preprocessor': seen})
        preprocessor = MODELS.build({'_scope_': 'mmpretrain', **seen})
        teacher: nn.Module
        if settings.get('model'):
            weights = _weights(settings, config, checkpoint)
            if distilled:
                settings.checkpoint = weights
                check_teacher(cfg)
            teacher = TeacherNetwork(settings['model'], weights, settings.get('class_map'), preprocessor, seen)
            network: nn.Module = teacher.model
            if weights:
                about['checkpoint'] = weights
        else:
            labels = _cached_labels(cfg, config, checkpoint, split, len(dataset))
            teacher = network = build_model(dict(settings)).eval()
            cast(Any, teacher).open(labels)
            seed, about['cache'] = labels.header.seed, str(labels.folder)
        # at equal distances, since data sets are often sorted by class
        places = np.linspace(0, len(dataset) - 1, min(max_samples or len(dataset), len(dataset))).round().astype(int)
        keys = [SampleKey(seed, 0, index) for index in places.tolist()]
        check_labels(dataset, keys[:loader['batch_size']])
        source = Source(dataset, loader, preprocessor, teacher, device)
        classes = _check_classes(dataset, source, keys[0], None if distilled else checkpoint)
    made_from_labels = bool(getattr(network, 'made_from_labels', False))
    of_labels = any(getattr(part, 'made_from_labels', False) for part in network.modules())
    notes = [note for applies, note in (
        (of_labels and not made_from_labels, 'A part of this teacher computes its soft labels from the labels: all '
         'numbers are better than its knowledge about images.'),
        (teacher_bn != 'eval', f"The config's teacher_bn={teacher_bn!r} is ignored: here BatchNorm is in eval mode."),
        (split == 'train', 'These are training images, with the augmentation of a first epoch: if the teacher was '
         'trained on them too, its numbers are better than on other images.'),
        (len(keys) < len(dataset), f'{len(keys):,} of {len(dataset):,} images were measured; '
         f'{len(dataset) - len(keys):,} were left out (--max-samples).')) if applies]
    about |= dict(device=str(device), batch_size=loader['batch_size'])
    backbone = getattr(network, 'backbone', None)
    name = type(network).__name__ + (f' ({type(backbone).__name__})' if backbone is not None else '')
    # before the preprocessor, files are BGR and arrays mostly are RGB
    order = getattr(dataset, 'channel_order', None)
    rgb = order == 'rgb' if order else not (seen.get('to_rgb') or 'img_path' in dataset[keys[0]]['data_samples'])
    return Subject(name, made_from_labels, classes, keys, about, notes, dataset, source, rgb)


def find_device(name: str | None) -> str:
    """Return a device that works; None: the best one. ConfigError if the device of that name cannot be used."""
    try:
        torch.zeros(1, device=name or 'cpu').cpu()
    except (RuntimeError, AssertionError, ImportError) as error:  # in this order: no such kind, not in this torch
        why = str(error).split('. ')[0].split('\n')[0]
        there = ['cpu', *(f'cuda:{place}' for place in range(torch.cuda.device_count()))]
        raise ConfigError(f'device={name!r} cannot be used here ({why}), expected one of {", ".join(there)}.'
                          ) from error
    return name or get_device()


def find_loader(cfg: Config, split: str) -> Mapping[str, Any]:
    """The config of a split's data loader; for ``'test'`` that of the validation if there is no other.

    ConfigError if there is none, it cannot give batches, or its files do not exist.
    """
    found = {each: next((name for name in names if isinstance((cfg.get(name) or {}).get('dataset'), Mapping)), None)
             for each, names in SPLITS.items()}
    name = found.pop(split)
    if name is None:
        (other, there), = found.items()
        raise ConfigError(f'{cfg.filename} has no {split}_dataloader with a dataset, and so no images. '
                          + (f'Use --split {other}, or add one.' if there else 'Add one.'))
    loader = cfg[name]
    check_integer(f'{name}.batch_size', loader.get('batch_size'), 1)
    check_integer(f'{name}.num_workers', loader.get('num_workers', 0), 0)
    check_data(Config({'model': cfg.model, 'data_preprocessor': cfg.get('data_preprocessor'), name: loader,
                       name.replace('dataloader', 'cfg'): {}}))
    return loader


def build_dataset(cfg: Mapping[str, Any]) -> KeyedDataset:
    """Build a data set whose augmentation follows the keys of its samples. ConfigError if it has no images."""
    try:
        dataset = DATASETS.build(dict(cfg))
    except ValueError as error:
        if 'need at least one array' not in str(error):  # mmengine's, for an empty list of samples
            raise
        dataset = []
    if not len(dataset):
        raise ConfigError(f'the data set {cfg.get("type")} has no images: check its indices, its num_samples or its '
                          'list of files.')
    return dataset if isinstance(dataset, KeyedDataset) else KeyedDataset(dataset)


def check_labels(dataset: KeyedDataset, keys: Sequence[SampleKey]) -> None:
    """Raise ConfigError unless the sample of each key has one class as its label, which is not hidden."""
    name, samples = type(dataset.dataset).__name__, [dataset[key]['data_samples'] for key in keys]
    if any('gt_score' in sample or ('gt_label' in sample and sample.gt_label.numel() != 1) for sample in samples):
        raise ConfigError(f'the data set {name} gives probabilities or several classes as target, expected one right '
                          'class. Use another split, or give the checkpoint with a config of the same model and the '
                          'plain data set, such as configs/baselines/resnet18-w16_digits.py CHECKPOINT for '
                          'configs/biased/bad-teacher_resnet18-w16_digits.py.')
    if not all('gt_label' in sample for sample in samples):
        raise ConfigError(f'the data set {name} has no labels to compare soft labels with. Use a split with labels.')
    try:
        _check_not_hidden(torch.cat([sample.gt_label for sample in samples]))
    except ValueError as error:
        raise ConfigError(f'images of {name}: {error}') from error


def _check_not_hidden(labels: Tensor) -> None:
    hidden = int((labels < 0).sum())
    if hidden:
        raise ValueError(f'{hidden} of {len(labels)} labels are hidden or missing ({int(labels.min())}), expected '
                         'labelled images: use another split, or FewLabels with rest=False. The candidate sets of '
                         'PartialLabels are measured without a teacher, by wsld_plugin.datasets.weak.measure.')


def _weights(settings: Mapping[str, Any], config: str, checkpoint: str | None) -> str | bool:
    """The weights of a network: those that are given, else those of the config; False: it has none of its own."""
    weights = settings.get('checkpoint') if checkpoint is None else checkpoint
    if checkpoint is not None and settings.get('checkpoint') is False:
        raise ConfigError(f'checkpoint {checkpoint!r} was given, but the teacher of this config loads its own '
                          'weights or has none: leave it out.')
    if weights is not False and not isinstance(weights, str):
        raise ConfigError(f'{config} names no trained weights: give the checkpoint behind it, such as '
                          'work_dirs/NAME/model_last.pth.')
    return weights


def _cached_labels(cfg: Config, config: str, checkpoint: str | None, split: str, samples: int) -> SoftLabels:
    if checkpoint is not None:
        raise ConfigError(f'checkpoint {checkpoint!r} was given, but the config names a cache and no network: leave '
                          'it out.')
    if split != 'train':
        raise ConfigError('the config names a cache and no network: only the training images have soft labels. Use '
                          '--split train.')
    labels = SoftLabels(cache_folder(cfg, cfg.get('work_dir') or Path('work_dirs') / Path(config).stem))
    if labels.header.num_samples != samples:
        raise ConfigError(f'{labels.folder} has soft labels of {labels.header.num_samples:,} images and the training '
                          f'set has {samples:,}: they belong to another data set.')
    return labels


def _check_classes(dataset: KeyedDataset, source: Source, key: SampleKey, checkpoint: str | None) -> list[str]:
    """The names of the data set's classes; ConfigError if the teacher or its checkpoint has others."""
    try:
        logits, target = next(source([key]))
    except ValueError as error:
        raise ConfigError(f'the first image of {type(dataset.dataset).__name__}: {error}') from error
    count = logits.shape[1]
    names = list(map(str, (getattr(dataset, 'metainfo', None) or {}).get('classes') or range(count)))
    if len(names) != count or int(target) >= count:
        raise ConfigError(f'the teacher gives {count} classes and the data set has {len(names)}: use the data that '
                          'it was trained for, or give a distillation config with a class_map.')
    meta = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu').get('meta') or {} if checkpoint else {}
    trained = list(map(str, (meta.get('dataset_meta') or {}).get('classes') or names))
    if trained != names:
        place = next((i for i, (a, b) in enumerate(zip(trained, names, strict=False)) if a != b), count)
        raise ConfigError(f'{checkpoint} was trained on {len(trained)} other classes, or in another order, than the '
                          f'{count} of the data set; they differ from class {place} on ({trained[place:place + 1]} '
                          f'and {names[place:place + 1]}). Use the data that it was trained on, or give a '
                          'distillation config with a class_map.')
    return names
