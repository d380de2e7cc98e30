"""Checks of the data sets of a run against each other and against the model, before training or testing starts."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier

from wsld_plugin.datasets.weak import FewLabels, PartialLabels
from wsld_plugin.errors import ConfigError


def check_splits(runner: Runner, *splits: str) -> None:
    """Raise ConfigError where the data sets of a run do not fit together, or do not fit its model.

    The loaders of ``splits`` that the run has are built, as the runner would do next. All data sets must have one
    list of classes, as many as the model has. Validation and test need the labels that `PartialLabels` and
    `FewLabels` hide, and the loss of a student's labels needs at least some of them: without labels, an accuracy or a
    cross entropy is 0.
    """
    model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
    head = getattr(getattr(model, 'student', model), 'head', None)
    first: tuple[str, list[str]] | None = None
    for split in splits:
        if getattr(runner, f'_{split}_loop') is None:
            continue
        where, dataset = f'{split}_dataloader', getattr(runner, f'{split}_dataloader').dataset
        if split == 'train':
            _check_learnable(model, dataset)
        else:
            _check_labelled(dataset, where)
        classes = list((getattr(dataset, 'metainfo', None) or {}).get('classes') or ())
        if not classes:
            continue
        count, (other, expected) = getattr(head, 'num_classes', None), first or (where, classes)
        if count not in (None, len(classes)):
            raise ConfigError(f'{where} has {len(classes)} classes, but the classifier has {count}: write '
                              f'head=dict(num_classes={len(classes)}), or use other data.')
        if classes != expected:
            differ = sorted(set(map(str, classes)) ^ set(map(str, expected)))
            raise ConfigError(f'{other} and {where} have different classes: '
                              f'{", ".join(differ[:6]) or "the same names in another order"}. A label is an index '
                              'into the list of classes, so both need the same list.')
        first = other, expected


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


def _parts(dataset: Any) -> Iterator[Any]:
    """A data set and those inside it."""
    yield dataset
    inner = vars(dataset)
    for part in (inner.get('dataset'), inner.get('_dataset'), *(inner.get('datasets') or ())):
        if part is not None:
            yield from _parts(part)
