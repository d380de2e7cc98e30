"""Checks of the data sets of a run against each other and against the model, before training or testing starts."""
from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.datasets import CustomDataset
from mmpretrain.models import ImageClassifier

from wsld_plugin.config.kinds import dicts
from wsld_plugin.datasets.weak import FewLabels, PartialLabels
from wsld_plugin.errors import ConfigError

_IMAGES = {'.avif', '.bmp', '.gif', '.heic', '.jfif', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff',
           '.webp'}


def check_splits(runner: Runner, *splits: str) -> None:
    """Raise ConfigError where the data sets of a run do not fit together, or do not fit its model.

    The loaders of ``splits`` that the run has are built, as the runner would do next. All data sets must have one
    list of classes, as many as the model has. Validation and test need the labels that `PartialLabels` and
    `FewLabels` hide, and the loss of a student's labels needs at least some of them: without labels, an accuracy or a
    cross entropy is 0.
    """
    model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
    head = getattr(getattr(model, 'student', model), 'head', None)
    count = getattr(head, 'num_classes', None)
    of_loss = getattr(getattr(head, 'loss_module', None), 'num_classes', None)
    if None not in (count, of_loss) and count != of_loss:
        raise ConfigError(f'head.loss has num_classes={of_loss}, but the head has {count}: write '
                          f'head=dict(loss=dict(num_classes={count})).')
    if 'train' in splits and (getattr(head, 'dist', False) or getattr(head, 'distillation', False)):
        raise ConfigError(f'{type(head).__name__} has a second classifier for distillation, with which mmpretrain '
                          'computes no loss: write head=dict(distillation=False).')
    first: tuple[str, list[str]] | None = None
    for split in splits:
        if getattr(runner, f'_{split}_loop') is None:
            continue
        where = f'{split}_dataloader'
        dataset = _built(runner, where)
        for part in _parts(dataset):
            _check_folders(part, where)
            _check_annotated(part, where, count)
        if split == 'train':
            if len(dataset) == 1:
                raise ConfigError(f'{where} has one image ({_image(dataset)}), and no network is trained on one: '
                                  'its data_root, ann_file or indices name less than was meant.')
            _check_learnable(model, dataset)
        else:
            _check_labelled(dataset, where)
        classes = list((getattr(dataset, 'metainfo', None) or {}).get('classes') or ())
        if not classes:
            continue
        other, expected = first or (where, classes)
        if classes != expected:
            differ = [f'{one} lacks {", ".join(map(str, missing[:6]))}' for one, missing in (
                (where, [name for name in expected if name not in classes]),
                (other, [name for name in classes if name not in expected])) if missing]
            raise ConfigError(f'{other} and {where} have different classes: '
                              f'{"; ".join(differ) or "the same names in another order"}. A label is an index into '
                              'the list of classes, so both need the same list.')
        if count not in (None, len(classes)):
            raise ConfigError(f'{where} has {len(classes)} classes, but the classifier has {count}: write '
                              f'head=dict(num_classes={len(classes)}), or use other data.')
        first = other, expected


def _built(runner: Runner, where: str) -> Any:
    """The data set of a loader. ConfigError in place of what mmpretrain raises for files that it cannot read."""
    try:
        return getattr(runner, where).dataset
    except ConfigError:
        raise
    except OSError as error:
        path = str(error.filename or '')
        raise ConfigError(f'{where}: {error.strerror}: {path[:200]}{"…" * (len(path) > 200)}.') from error
    except (ValueError, IndexError, RuntimeError, AssertionError) as error:
        loader = vars(runner).get(f'_{where}')
        files = [part['ann_file'] for _, part, _ in dicts(loader) if part.get('ann_file')]
        raise ConfigError(f'{where}: its data set cannot be built{"".join(f" from {file}" for file in files)} '
                          f'({error}). Expected a folder with one folder of '
                          "images for each class, or an ann_file with a line 'path label' for each image, without "
                          'blank lines.') from error


def _check_folders(dataset: Any, where: str) -> None:
    """Check the class folders of a `CustomDataset`."""
    folders = vars(dataset).get('folder_to_idx')
    if not folders:
        return
    root, classes = Path(str(dataset.img_prefix)), list(dataset.metainfo['classes'])
    hidden = [name for name in folders if name.startswith('.')]
    if hidden:
        raise ConfigError(f'{where}: the hidden folder {root / hidden[0]} would be a class. Remove it.')
    if classes != list(folders) and sorted(classes) == sorted(folders):
        raise ConfigError(f'{where}: classes={classes[:6]} names the folders of {root} in another order than that of '
                          f'their labels. Leave out classes, or write them sorted: {list(folders)[:6]}.')
    if not root.is_dir():  # a remote folder
        return
    left_out: Counter[str] = Counter()  # from the folders: reading the labels of a million samples takes seconds
    for name in folders:
        suffixes = Counter(os.path.splitext(file)[1].lower() for _, _, files in os.walk(root / name, followlinks=True)
                           for file in files)
        if not suffixes.keys() & set(dataset.extensions):
            raise ConfigError(f'{where}: the class folder {root / name} has no image with one of the suffixes '
                              f'{", ".join(dataset.extensions)}. Remove the folder, or give the data set '
                              'extensions=(…).')
        left_out.update({suffix: suffixes[suffix] for suffix in suffixes.keys() & _IMAGES - set(dataset.extensions)})
    if left_out:
        files = ', '.join(f'{count} {suffix}' for suffix, count in left_out.items())
        print_log(f'{where}: {root} has images that are not read: {files}. Give the data set extensions=(…) to read '
                  'them.', logger='current', level=logging.WARNING)


def _check_annotated(dataset: Any, where: str, count: int | None) -> None:
    """Check the labels of the annotation file of a `CustomDataset`; other data sets may have several a sample."""
    if not isinstance(dataset, CustomDataset) or not dataset.ann_file or not dataset.with_label:
        return
    count = len(dataset.metainfo.get('classes') or ()) or count
    if not count:
        return
    labels = np.asarray(dataset.get_gt_labels())
    for index in np.flatnonzero((labels < 0) | (labels >= count))[:1]:
        raise ConfigError(f'{where}: {dataset.ann_file} gives image {index} the label {labels[index]}, but '
                          f'there are {count} classes: labels are 0 … {count - 1}.')


def _check_labelled(dataset: Any, where: str) -> None:
    for part in _parts(dataset):
        if isinstance(part, PartialLabels) or (isinstance(part, FewLabels) and not part.labelled[part.places].all()):
            kind = type(part).__name__
            raise ConfigError(f'{where}: {kind} hides labels, so predictions cannot be compared with them. Measure '
                              f'on labelled images: write {where}.dataset without {kind}'
                              f'{", or with rest=False" if kind == "FewLabels" else ""}.')


def _check_learnable(model: Any, dataset: Any) -> None:
    """Check the data set inside wrappers; one of several joined data sets may have labels."""
    while dataset is not None and not isinstance(dataset, PartialLabels):
        dataset = vars(dataset).get('dataset', vars(dataset).get('_dataset'))
    if dataset is not None and (isinstance(model, ImageClassifier) or getattr(model, 'hard_weight', False)):
        raise ConfigError('train_dataloader: PartialLabels hides every label, so the loss of the labels would be 0 '
                          'in every step. Learn from its soft labels alone: model=dict(hard_weight=0.0) in a '
                          'distillation with a wsld_plugin.GivenTeacher.')


def _image(dataset: Any) -> str:
    return str(dataset.get_data_info(0).get('img_path', '')) if hasattr(dataset, 'get_data_info') else ''


def _parts(dataset: Any) -> Iterator[Any]:
    """A data set and those inside it."""
    yield dataset
    inner = vars(dataset)
    for part in (inner.get('dataset'), inner.get('_dataset'), *(inner.get('datasets') or ())):
        if part is not None:
            yield from _parts(part)
