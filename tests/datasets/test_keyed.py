import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, RepeatDataset
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, DefaultScope
from mmengine.runner import Runner
from packs import AUGMENTED, digests, keyed_loader, make_pack

from wsld_plugin.datasets import KeyedDataset, KeyedSampler, PackedDataset, SampleKey


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return make_pack(tmp_path_factory.mktemp('data') / 'pack')


@pytest.fixture
def data(root):
    return KeyedDataset(PackedDataset(str(root), pipeline=AUGMENTED))


def state():
    return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()  # noqa: NPY002


@pytest.mark.filterwarnings('ignore:This DataLoader will create 3 worker')  # on a machine of two cores
@pytest.mark.parametrize('workers', [1, 3])
def test_pixels_are_the_same_for_any_number_of_workers(root, workers):
    expected = digests(keyed_loader(root, epoch=2))
    assert len(expected) == 24
    assert digests(keyed_loader(root, epoch=2, workers=workers)) == expected


def test_pixels_do_not_depend_on_the_batch_or_on_what_was_drawn_before(root):
    expected = digests(keyed_loader(root))
    torch.rand(3)
    assert digests(keyed_loader(root, batch=24)) == expected


@pytest.mark.parametrize('other', [dict(epoch=1), dict(seed=1)])
def test_another_epoch_or_seed_has_other_pixels(root, other):
    here, there = digests(keyed_loader(root)), digests(keyed_loader(root, **other))
    by_index = [{key[2]: digest for key, digest in each.items()} for each in (here, there)]
    differ = [by_index[0][index] != by_index[1][index] for index in range(24)]
    assert sum(differ) > 20
    assert len(set(here.values())) == 24


def test_the_random_state_of_the_process_is_untouched(root, data):
    list(keyed_loader(root))  # torch draws a base seed for every loader
    before = state()
    for index in range(24):
        data[SampleKey(0, 0, index)]
    assert state() == before
    with pytest.raises(IndexError):
        data[SampleKey(0, 0, 24)]
    assert state() == before


def test_the_key_goes_with_the_sample(root):
    for batch in keyed_loader(root, epoch=3, seed=7, workers=1):
        for sample in batch['data_samples']:
            assert sample.sample_key == SampleKey(7, 3, sample.sample_idx, 0)
            assert 'sample_key' in sample.metainfo


def test_a_plain_index_is_refused(data):
    for index in (0, (0, 0, 1), np.int64(3)):
        with pytest.raises(TypeError, match=r"expected a SampleKey.*type='wsld_plugin\.KeyedSampler'"):
            data[index]


def test_everything_but_the_samples_is_the_wrapped_data_sets(data):
    inner = data.dataset
    assert len(data) == len(inner) == 24
    assert data.metainfo == inner.metainfo
    assert data.CLASSES == inner.CLASSES
    assert data.get_cat_ids(3) == inner.get_cat_ids(3)
    assert list(data.get_gt_labels()) == list(inner.get_gt_labels())
    assert data.get_data_info(2)['gt_label'] == 2
    data.full_init()
    with pytest.raises(AttributeError, match='no_such'):
        _ = data.no_such
    assert len(pickle.loads(pickle.dumps(data))) == 24


def test_a_new_pipeline_reaches_the_wrapped_data_set(data):
    plain = PackedDataset(data.data_root, pipeline=AUGMENTED[-1:])
    data.pipeline = plain.pipeline
    assert (data[SampleKey(0, 0, 5)]['inputs'] == plain[5]['inputs']).all()


def test_any_data_set_can_be_wrapped_and_repeats_are_augmented_anew(data):
    twice = KeyedDataset(RepeatDataset(data.dataset, times=2))
    first, second = twice[SampleKey(0, 0, 3)]['inputs'], twice[SampleKey(0, 0, 27)]['inputs']
    assert (first == data[SampleKey(0, 0, 3)]['inputs']).all()
    assert (first != second).any()
    assert not hasattr(twice, 'pipeline')  # as for a RepeatDataset alone: mmpretrain's hooks look inside then
    assert twice.dataset.dataset is data.dataset
    samples = KeyedDataset([(torch.zeros(1), 3)])
    assert samples[SampleKey(0, 0, 0)] == (torch.zeros(1), 3)


def test_the_sampler_gives_the_order_of_the_one_inside(data):
    plain = DefaultSampler(data, shuffle=True, seed=5)
    keyed = KeyedSampler(data, dict(type='DefaultSampler', shuffle=True), seed=5)
    for epoch in (0, 1, 4):
        for sampler in (plain, keyed):
            sampler.set_epoch(epoch)
        assert list(keyed) == [SampleKey(5, epoch, index) for index in plain]
    assert len(keyed) == len(plain)


def _ranks(monkeypatch, data, world, sampler, **more):
    """The keys of every rank, in turn."""
    streams = []
    for rank in range(world):
        for module in ('wsld_plugin.datasets.keyed', 'mmengine.dataset.sampler',
                       'mmpretrain.datasets.samplers.repeat_aug'):
            monkeypatch.setattr(f'{module}.get_dist_info', lambda rank=rank: (rank, world))
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            streams.append(KeyedSampler(data, dict(sampler), seed=0, **more))
    return streams


@pytest.mark.parametrize('world', [1, 2, 4])
def test_ranks_share_the_keys_of_one_process(monkeypatch, data, world):
    keys = [key for each in _ranks(monkeypatch, data, world, dict(type='DefaultSampler')) for key in each]
    assert sorted(keys) == [SampleKey(0, 0, index) for index in range(24)]


@pytest.mark.parametrize('world', [1, 2])
def test_views_of_one_image_are_augmented_differently(monkeypatch, data, world):
    views = [key for each in _ranks(monkeypatch, data, world, dict(type='RepeatAugSampler', num_repeats=3))
             for key in each]
    assert len(set(views)) == len(views) == 24
    assert len({key.index for key in views}) == 8
    assert {key.repeat for key in views} == {0, 1, 2}


@pytest.mark.parametrize('world', [1, 3])
def test_an_endless_sampler_counts_its_passes(monkeypatch, data, world):
    streams = [iter(each) for each in _ranks(monkeypatch, data, world, dict(type='InfiniteSampler'))]
    keys = [next(stream) for _ in range(48 // world) for stream in streams]
    assert len(set(keys)) == 48
    assert [key.repeat for key in keys] == [0] * 24 + [1] * 24


def test_with_views_the_augmentation_repeats_and_the_order_does_not(data):
    plain, keyed = DefaultSampler(data, seed=5), KeyedSampler(data, dict(type='DefaultSampler'), seed=5, views=3)
    orders = []
    for epoch in range(7):
        for sampler in (plain, keyed):
            sampler.set_epoch(epoch)
        orders.append(list(plain))
        assert list(keyed) == [SampleKey(5, epoch % 3, index) for index in plain]
    assert len(set(map(tuple, orders))) == 7


@pytest.mark.parametrize('world', [1, 3])
def test_with_views_the_passes_of_an_endless_sampler_are_the_views(monkeypatch, data, world):
    sampler = dict(type='InfiniteSampler')
    streams = [iter(each) for each in _ranks(monkeypatch, data, world, sampler, views=2)]
    keys = [next(stream) for _ in range(72 // world) for stream in streams]
    assert [(key.epoch, key.repeat) for key in keys] == [(view, 0) for view in (0, 1, 0) for _ in range(24)]


@pytest.mark.parametrize('world', [1, 2])
def test_with_views_those_of_a_repeating_sampler_go_on_from_epoch_to_epoch(monkeypatch, data, world):
    streams = _ranks(monkeypatch, data, world, dict(type='RepeatAugSampler', num_repeats=3), views=4)
    for epoch in range(3):
        for each in streams:
            each.set_epoch(epoch)
        keys = [key for each in streams for key in each]
        assert {key.repeat for key in keys} == {0}
        assert {key.epoch for key in keys} == {(3 * epoch + view) % 4 for view in range(3)}
        assert len(set(keys)) == len(keys)


def test_without_a_seed_the_ranks_draw_one(data):
    assert get_dist_info() == (0, 1)
    np.random.seed(0)  # noqa: NPY002
    sampler = KeyedSampler(data, dict(type='DefaultSampler'))
    assert sampler.seed == sampler.sampler.seed


def test_the_runner_slices_it_for_short_epochs(root):
    loader = Runner.build_dataloader(dict(
        batch_size=4, num_workers=0, num_batch_per_epoch=2,
        dataset=dict(type='wsld_plugin.KeyedDataset', dataset=dict(
            type='wsld_plugin.PackedDataset', data_root=str(root), pipeline=AUGMENTED)),
        sampler=dict(type='wsld_plugin.KeyedSampler', sampler=dict(type='DefaultSampler', shuffle=True))), seed=0)
    assert {key[2] for key in digests(loader)} == set(range(8))


def test_it_is_registered_beside_mmengines_own():
    assert DATA_SAMPLERS.get('wsld_plugin.KeyedSampler') is KeyedSampler
