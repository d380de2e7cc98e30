"""A run gets the cache that it needs, or none."""
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from caches import AUGMENTED, cached_cfg, prepared, teacher_file
from factories import digits_classifier
from mmengine.registry import DATASETS, MODELS
from torch.nn import functional as F

from wsld_plugin.datasets import SampleKey
from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels import prepare as module
from wsld_plugin.soft_labels.header import HEADER, PROGRESS
from wsld_plugin.soft_labels.reader import SoftLabels


def teacher_of(cfg):
    return cfg.model.teacher


def dataset_of(cfg):
    return cfg.train_dataloader.dataset.dataset


def with_other_images(cfg):
    dataset_of(cfg).split = 'test'


def with_other_weights(cfg):
    teacher_file(Path(teacher_of(cfg).checkpoint), seed=8)


CHANGES = {
    'seed': lambda cfg: cfg.randomness.update(seed=1),
    'views': lambda cfg: teacher_of(cfg).update(views=3),
    'top_k': lambda cfg: teacher_of(cfg).update(top_k=4),
    'tau': lambda cfg: cfg.model.distiller.distill_losses.loss_soft.update(tau=4.0),
    'class_map': lambda cfg: teacher_of(cfg).update(class_map=list(range(9, -1, -1))),
    'pipeline': lambda cfg: dataset_of(cfg).update(pipeline=AUGMENTED[-1:]),
    'data_preprocessor': lambda cfg: cfg.model.architecture.data_preprocessor.update(mean=[70.0]),
    'dataset': with_other_images,
    'num_samples': lambda cfg: dataset_of(cfg).update(num_samples=39),
    'teacher_weights': with_other_weights,
    'teacher_config': lambda cfg: teacher_of(cfg).model.update(data_preprocessor=dict(mean=[1.0], std=[2.0])),
}


@pytest.fixture
def cfg(tmp_path):
    return cached_cfg(tmp_path, pipeline=AUGMENTED, teacher=dict(views=2, top_k=3))


@pytest.mark.parametrize('field', CHANGES)
def test_a_cache_of_another_run_is_refused_with_the_field_named(cfg, field):
    prepared(cfg)
    before = (Path(cfg.model.teacher.cache) / HEADER).read_bytes()
    CHANGES[field](cfg)
    with pytest.raises(ConfigError, match=rf'(?s)of another run:.*\n  {field}: the cache has .*, this run '):
        prepared(cfg)
    assert (Path(cfg.model.teacher.cache) / HEADER).read_bytes() == before


def test_another_number_of_classes_is_refused(cfg):
    prepared(cfg)
    cfg.model.architecture.head.num_classes = 9
    with pytest.raises(ConfigError, match='num_classes: the cache has 10, this run 9'):
        prepared(cfg)


def test_a_teacher_of_other_classes_needs_a_map(cfg):
    cfg.model.teacher.model.head.num_classes = 12
    cfg.model.teacher.checkpoint = False
    with pytest.raises(ConfigError, match=r'12 classes and the student has 10: write .* model\.teacher\.class_map'):
        prepared(cfg)
    cfg.model.teacher.class_map = list(range(10))
    assert prepared(cfg).header.num_classes == 10


def test_each_record_is_the_teachers_answer_to_its_view(cfg):
    cfg.model.teacher.top_k = None
    labels = prepared(cfg)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    teacher = MODELS.build(digits_classifier(8))
    teacher.load_state_dict(torch.load(cfg.model.teacher.checkpoint))
    teacher.eval()
    for view, index in ((0, 0), (1, 0), (1, 39)):
        sample = dataset[SampleKey(0, view, index)]
        with torch.no_grad():
            logits = teacher((sample['inputs'][None] - 77.8) / 95.9)
        row = labels.rows([SampleKey(0, view, index)])
        torch.testing.assert_close(torch.from_numpy(row['log_probs']).float(), logits.log_softmax(1), rtol=1e-3,
                                   atol=1e-4)
        ce = F.cross_entropy(logits, sample['data_samples'].gt_label)
        assert row['teacher_ce'][0] == pytest.approx(ce.item(), rel=1e-4, abs=1e-5)


def test_a_cache_that_is_there_is_not_computed_again(cfg):
    first = prepared(cfg)
    before = os.stat(first.folder / HEADER).st_mtime_ns
    assert prepared(cfg, verify=2).header == first.header
    assert os.stat(first.folder / HEADER).st_mtime_ns == before


def test_a_missing_cache_is_made_only_where_that_is_wanted(cfg):
    with pytest.raises(ConfigError, match=r"holds no soft labels.*cache_soft_labels\.py.*make='missing'"):
        prepared(cfg, make=False)
    assert not Path(cfg.model.teacher.cache).exists()


def test_an_interrupted_caching_goes_on_and_ends_as_one_that_was_not(cfg, tmp_path, monkeypatch):
    whole = prepared(cfg)
    cfg.model.teacher.cache = str(tmp_path / 'second')
    encode, calls = module.encode, []

    def interrupted(logits, *more):
        calls.append(len(logits))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(logits, *more)
    monkeypatch.setattr(module, 'encode', interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepared(cfg)
    assert (tmp_path / 'second' / PROGRESS).is_file()
    with pytest.raises(ConfigError, match='not complete'):
        prepared(cfg, make=False)
    second = prepared(cfg)
    assert calls == [20, 20, 20, 20, 20]
    for name in whole.records.dtype.names:
        np.testing.assert_allclose(second.records[name], whole.records[name], rtol=1e-3, atol=1e-3)
    assert second.header == whole.header


def test_without_the_teacher_the_rest_is_checked(cfg):
    prepared(cfg)
    cfg.model.teacher.update(model=None, checkpoint=None)
    assert isinstance(prepared(cfg, verify=5), SoftLabels)
    cfg.randomness.seed = 1
    with pytest.raises(ConfigError, match='seed: the cache has 0, this run 1'):
        prepared(cfg)
    cfg.model.teacher.cache += '2'
    with pytest.raises(ConfigError, match=r'names no model\.teacher\.model'):
        prepared(cfg)
