"""A step whose soft labels come from disk: the cache of one batch."""
from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from wsld_plugin.datasets.keyed import SampleKey
from wsld_plugin.soft_labels import CachedTeacher
from wsld_plugin.soft_labels.config import use_cached_labels
from wsld_plugin.soft_labels.store import Header, SoftLabels, encode, writing

from .step import TrainStep


def cached_config(cfg: Config) -> Config:
    """A distillation that reads all logits of its teacher from disk, all else equal."""
    changed = copy.deepcopy(cfg)
    use_cached_labels(changed, views=1)
    return changed


def open_cache(step: TrainStep, source: TrainStep, folder: Path) -> None:
    """Write what the teacher of ``source`` says of its batch to ``folder``, and let ``step`` read it from there.

    Both have the same batch. Idle where the teacher of ``step`` is no `CachedTeacher`.
    """
    teacher = getattr(step.model, 'teacher', None)
    if not isinstance(teacher, CachedTeacher):
        return
    logits, labels = _soft_labels(source.model, source.new_batch())
    header = Header(teacher_weights='', teacher_config='', pipeline='', data_preprocessor='', dataset='',
                    num_samples=len(logits), num_classes=logits.shape[1], views=1, seed=0)
    with writing(folder, header) as writer:
        writer.append(encode(logits, labels))
        writer.finish()
    teacher.open(SoftLabels(folder))
    for index, sample in enumerate(step.batch['data_samples']):
        sample.set_field(SampleKey(0, 0, index), 'sample_key', field_type='metainfo')


@torch.no_grad()
def _soft_labels(model: Any, batch: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    data = model.data_preprocessor(batch, training=False)
    labels = torch.cat([sample.gt_label for sample in data['data_samples']])
    return model.teacher(data['inputs'], data['data_samples'], mode='tensor'), labels
