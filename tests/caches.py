"""Caches of soft labels that several tests need."""
from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from factories import digits_classifier, digits_distillation, distiller, run_cfg
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope

from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.soft_labels.config import check_cached, preprocessor_config
from wsld_plugin.soft_labels.prepare import prepare
from wsld_plugin.soft_labels.store import HEADER, Header, SoftLabels, encode, writing

# 8×8 digits that differ in every view
AUGMENTED = [dict(type='mmpretrain.RandomCrop', crop_size=8, padding=2), dict(type='mmpretrain.PackInputs')]


def header(**overrides: Any) -> Header:
    """Of a cache of five samples of seven classes in three views."""
    return Header(**{**dict(teacher_weights='w', teacher_config='t', pipeline='p', data_preprocessor='d', dataset='s',
                            num_samples=5, num_classes=7, views=3, seed=0), **overrides})


def random_records(of: Header, seed: int = 0) -> np.ndarray:
    """Every record of a cache, of random logits."""
    generator = torch.Generator().manual_seed(seed)
    count = of.views * of.num_samples
    logits = 4 * torch.randn(count, of.num_classes, generator=generator)
    labels = torch.arange(count) % of.num_samples % of.num_classes
    return encode(logits, labels, of.top_k, of.tau)


def random_cache(folder: Path, **overrides: Any) -> SoftLabels:
    """A whole cache of random logits."""
    of = header(**overrides)
    with writing(folder, of) as writer:
        writer.append(random_records(of))
        writer.finish()
    return SoftLabels(folder)


def teacher_file(path: Path, width: int = 8, seed: int = 7) -> Path:
    """Weights of a teacher of the digits that nobody trained."""
    path.write_bytes(_teacher_bytes(width, seed))
    return path


@cache
def _teacher_bytes(width: int, seed: int) -> bytes:
    torch.manual_seed(seed)
    teacher = MODELS.build(digits_classifier(width))
    teacher.init_weights()
    for name, weights in teacher.named_parameters():  # every pixel counts, and the classes differ
        if name.endswith('bn2.weight'):
            torch.nn.init.ones_(weights)
    torch.nn.init.normal_(teacher.head.fc.weight, std=0.3)
    with torch.no_grad():
        for _ in range(20):
            teacher.train()(torch.randn(64, 1, 8, 8))
    buffer = io.BytesIO()
    torch.save(teacher.state_dict(), buffer)
    return buffer.getvalue()


def live_cfg(tmp_path: Path, loss: dict | None = None, pipeline: list | None = None, **overrides: Any) -> Config:
    """A training config whose teacher runs in every step; 40 digits, two iterations an epoch."""
    path = tmp_path / 'teacher.pth'
    model = digits_distillation(teacher_ckpt=str(path if path.exists() else teacher_file(path)),
                                distiller=distiller(loss))
    cfg = run_cfg(tmp_path / 'live', model, **overrides)
    cfg.train_dataloader.dataset.serialize_data = False  # which collects garbage for a fifth of a second
    if pipeline:
        cfg.train_dataloader.dataset.pipeline = pipeline
    return cfg


def cached_cfg(tmp_path: Path, loss: dict | None = None, pipeline: list | None = None, *, teacher: dict | None = None,
               **overrides: Any) -> Config:
    """The same with a `CachedTeacher`, written as a user writes it, and keyed as ``tools/train.py`` does."""
    cfg = live_cfg(tmp_path, loss, pipeline, **overrides)
    model = cfg.model
    model.teacher = {**dict(type='wsld_plugin.CachedTeacher', model=model.teacher, checkpoint=model.teacher_ckpt,
                            cache=str(tmp_path / 'cache'), make='missing'), **(teacher or {})}
    model.teacher_ckpt = False
    if model.distiller.distill_losses.loss_soft.type == 'wsld_plugin.WSLD':
        model.distiller.teacher_recorders.teacher_ce = dict(type='mmrazor.ModuleOutputs', source='teacher_ce')
        model.distiller.loss_forward_mappings.loss_soft.teacher_ce = dict(recorder='teacher_ce', from_student=False)
    cfg.work_dir = str(tmp_path / 'cached')
    check_cached(cfg)
    key_training_set(cfg, views=model.teacher.get('views', 1))
    return cfg


def without_checksums(folder: Path) -> None:
    """Make a cache one of an earlier version, which has no checksums of its blocks and header."""
    header = json.loads((folder / HEADER).read_text())
    del header['blocks'], header['crc32']
    (folder / HEADER).write_text(json.dumps(header))


def prepared(cfg: Config, make: bool = True, verify: int = 0) -> SoftLabels:
    """The cache of a config, as its run would open it."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        preprocessor = MODELS.build({'_scope_': 'mmpretrain', **preprocessor_config(cfg)})
        return prepare(cfg, Path(cfg.model.teacher.cache), dataset, preprocessor, make=make, verify=verify)
