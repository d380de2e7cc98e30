"""The cached logits are those of the teacher in training, and a run gets the cache that it needs or none."""
import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from caches import AUGMENTED, cached_cfg, live_cfg, prepared, teacher_file, without_checksums
from mmengine.registry import DATASETS, MODELS, DefaultScope

from wsld_plugin.datasets import SampleKey
from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.errors import CheckpointError, ConfigError
from wsld_plugin.soft_labels import prepare as module
from wsld_plugin.soft_labels.config import needed_by, preprocessor_config
from wsld_plugin.soft_labels.prepare import Source, weights_hash
from wsld_plugin.soft_labels.store import HEADER, PROGRESS, RECORDS, SoftLabels
from wsld_plugin.teachers import TeacherNetwork


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
    'num_classes': lambda cfg: cfg.model.architecture.head.update(num_classes=9),
    'tau': lambda cfg: cfg.model.distiller.distill_losses.loss_soft.update(tau=4.0),
    'class_map': lambda cfg: teacher_of(cfg).update(class_map=list(range(9, -1, -1))),
    'pipeline': lambda cfg: dataset_of(cfg).update(pipeline=AUGMENTED[-1:]),
    'data_preprocessor': lambda cfg: cfg.model.architecture.data_preprocessor.update(mean=[70.0]),
    'dataset': with_other_images,
    'num_samples': lambda cfg: dataset_of(cfg).update(num_samples=39),
    'teacher_config': lambda cfg: teacher_of(cfg).model.update(data_preprocessor=dict(mean=[1.0], std=[2.0])),
    'teacher_weights': with_other_weights,  # the last, as it changes the file
}


@pytest.fixture
def cfg(tmp_path):
    return cached_cfg(tmp_path, pipeline=AUGMENTED, teacher=dict(views=2, top_k=3))


def test_a_cache_of_another_run_is_refused_with_the_field_named(cfg):
    path = prepared(cfg).folder / HEADER
    before = path.read_bytes()
    for field, change in CHANGES.items():
        other = copy.deepcopy(cfg)
        change(other)
        with pytest.raises(ConfigError, match=rf'(?s)of another run:.*\n  {field}: the cache has .*, this run '):
            prepared(other)
    assert path.read_bytes() == before


def test_a_teacher_of_other_classes_needs_a_map(cfg):
    cfg.model.teacher.model.head.num_classes = 12
    cfg.model.teacher.checkpoint = False
    with pytest.raises(ConfigError, match=r'12 classes and the student has 10: write .* model\.teacher\.class_map'):
        prepared(cfg)
    cfg.model.teacher.class_map = list(range(10))
    assert prepared(cfg).header.num_classes == 10


def test_a_missing_cache_is_made_only_if_asked_and_only_once(cfg):
    with pytest.raises(ConfigError, match=r"holds no soft labels.*cache_soft_labels\.py.*make='missing'"):
        prepared(cfg, make=False)
    assert not Path(cfg.model.teacher.cache).exists()
    first = prepared(cfg)
    before = os.stat(first.folder / HEADER).st_mtime_ns
    assert prepared(cfg, verify=2).header == first.header
    assert os.stat(first.folder / HEADER).st_mtime_ns == before


def test_an_interrupted_caching_continues_and_ends_as_an_uninterrupted_one(cfg, tmp_path, monkeypatch):
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


# Source

KEYS = [SampleKey(0, view, index) for view, index in ((0, 3), (1, 3), (0, 17), (2, 39), (1, 0))]


def source_of(cfg, **loader):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        default = preprocessor_config(cfg)
        preprocessor = MODELS.build({'_scope_': 'mmpretrain', **default})
        teacher = TeacherNetwork(cfg.model.teacher.model, cfg.model.teacher.checkpoint,
                                 cfg.model.teacher.get('class_map'), preprocessor, default)
        return Source(DATASETS.build(cfg.train_dataloader.dataset), {**cfg.train_dataloader, **loader},
                      preprocessor, teacher, 'cpu')


def logits_of(source, keys=KEYS):
    logits, labels = zip(*source(keys), strict=True)
    return torch.cat(logits), torch.cat(labels)


@pytest.mark.parametrize(('class_map', 'collate'), [(None, 'pseudo_collate'),
                                                    ([9, 8, 7, 6, 5, 4, 3, 2, 1, 0], 'default_collate')])
def test_the_logits_are_those_of_the_teacher_in_training(tmp_path, class_map, collate):
    live = live_cfg(tmp_path, pipeline=AUGMENTED)
    live.model.teacher.data_preprocessor = dict(mean=[10.0], std=[20.0])
    live.model.distiller.connectors.teacher_logits.class_map = class_map
    key_training_set(live)
    algorithm, dataset = MODELS.build(live.model), DATASETS.build(live.train_dataloader.dataset)
    samples = [dataset[key] for key in KEYS]
    data = algorithm.data_preprocessor(dict(inputs=[each['inputs'] for each in samples],
                                            data_samples=[each['data_samples'] for each in samples]))
    expected = algorithm.eval().teacher_logits(**data)

    cfg = cached_cfg(tmp_path, pipeline=AUGMENTED, teacher=dict(class_map=class_map))
    cfg.model.teacher.model.data_preprocessor = dict(mean=[10.0], std=[20.0])
    source = source_of(cfg, batch_size=2, collate_fn=dict(type=collate))
    logits, labels = logits_of(source)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert labels.tolist() == [int(each['data_samples'].gt_label) for each in samples]
    assert (logits[0] - logits[1]).abs().max() > 0.1, 'the views of one sample are alike'


def test_the_logits_do_not_depend_on_batch_workers_or_batch_augmentation_and_leave_the_random_state(tmp_path):
    cfg = cached_cfg(tmp_path, pipeline=AUGMENTED)
    expected, _ = logits_of(source_of(cfg, batch_size=1))
    before = torch.get_rng_state()
    source = source_of(cfg, batch_size=5, num_workers=1)
    torch.testing.assert_close(logits_of(source)[0], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)
    cfg.model.architecture.data_preprocessor.batch_augments = dict(augments=[dict(type='Mixup', alpha=1.0)])
    torch.testing.assert_close(logits_of(source_of(cfg))[0], expected, rtol=1e-4, atol=1e-5)


def test_the_hash_of_the_weights_is_that_of_their_values_whatever_the_file(tmp_path):
    cfg = cached_cfg(tmp_path)
    first = source_of(cfg).teacher
    state = {key: value.clone() for key, value in first.model.state_dict().items()}
    torch.save(dict(state_dict={f'module.{key}': value for key, value in state.items()}), tmp_path / 'other.pth')
    cfg.model.teacher.checkpoint = str(tmp_path / 'other.pth')
    assert weights_hash(source_of(cfg).teacher.model) == weights_hash(first.model)
    state['head.fc.bias'][3] += 1e-6
    torch.save(state, tmp_path / 'other.pth')
    assert weights_hash(source_of(cfg).teacher.model) != weights_hash(first.model)


def test_a_teacher_that_does_not_fit_is_refused(tmp_path):
    cfg = cached_cfg(tmp_path)
    teacher_file(tmp_path / 'teacher.pth', width=4)
    with pytest.raises(CheckpointError, match='does not fit'):
        source_of(cfg)
    cfg.model.teacher.model.head = dict(type='MultiLabelLinearClsHead', num_classes=10, in_channels=64)
    cfg.model.teacher.checkpoint = False
    with pytest.raises(ConfigError, match='independent sigmoids'):
        source_of(cfg)


def test_a_target_that_is_not_one_class_is_refused(tmp_path):
    source = source_of(cached_cfg(tmp_path))
    samples = [source.dataset[key] for key in KEYS]
    for sample in samples:
        sample['data_samples'].set_gt_score(torch.full((10, ), .1))
    source.dataset = dict(enumerate(samples))
    with pytest.raises(ValueError, match='another target than one class'):
        next(source(range(2)))


# Replay

SHIFTED = [dict(type='mmpretrain.RandomCrop', crop_size=8, padding=1), AUGMENTED[-1]]


@pytest.fixture(params=[None, 3])
def made(request, cfg):
    cfg.model.teacher.top_k = request.param
    assert prepared(cfg, verify=100).check_hash() is None
    return cfg


@pytest.mark.parametrize('field', ['log_probs', 'teacher_ce'])
def test_a_changed_entry_is_found_whatever_the_header_says(made, field):
    labels = SoftLabels(made.model.teacher.cache)
    records = np.memmap(labels.folder / RECORDS, labels.records.dtype, 'r+')
    records[field] += np.float16(0.5)
    records.flush()
    without_checksums(labels.folder)
    with pytest.raises(ConfigError, match=r'sample \d+ in view [01] is not what the teacher computes: .* now'):
        prepared(made, verify=1)
    with pytest.raises(ConfigError, match=r'damaged, its SHA-256'):
        labels.check_hash()


def test_images_that_changed_behind_the_header_are_found(made):
    header = SoftLabels(made.model.teacher.cache).folder / HEADER
    have = SoftLabels(made.model.teacher.cache).header.pipeline
    made.train_dataloader.dataset.dataset.pipeline = SHIFTED
    with pytest.raises(ConfigError, match='pipeline: the cache has'):
        prepared(made)
    without_checksums(header.parent)
    header.write_text(header.read_text().replace(have, needed_by(made)['pipeline']))
    with pytest.raises(ConfigError, match='is not what the teacher computes'):
        prepared(made, verify=20)
