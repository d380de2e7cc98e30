import doctest
import pickle
import random
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
import torch
from caches import cached_cfg, live_cfg
from factories import digits_classifier, run_cfg
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, RepeatDataset
from mmengine.registry import DATA_SAMPLERS, DefaultScope
from packs import AUGMENTED, digests, keyed_loader, make_pack, recorded
from processes import tool
from scipy.stats import chi2_contingency, chisquare

from wsld_plugin.datasets import KeyedDataset, KeyedSampler, PackedDataset, SampleKey, keyed
from wsld_plugin.datasets.keyed import (
    derive_seeds,
    key_states,
    key_training_set,
    random_below,
    seed_everything,
    seeded,
)
from wsld_plugin.engine.training import train, training_config
from wsld_plugin.errors import ConfigError

RARE = 1e-3  # of the p-values, with fixed keys


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return make_pack(tmp_path_factory.mktemp('data') / 'pack')


@pytest.fixture
def data(root):
    return KeyedDataset(PackedDataset(str(root), pipeline=AUGMENTED))


@pytest.mark.filterwarnings('ignore:This DataLoader will create 3 worker')  # on a machine with two cores
def test_pixels_do_not_depend_on_workers_batch_size_or_earlier_draws(root):
    expected = digests(keyed_loader(root, epoch=2))
    assert len(set(expected.values())) == 24
    assert digests(keyed_loader(root, epoch=2, workers=3)) == expected
    torch.rand(3)
    assert digests(keyed_loader(root, epoch=2, batch=24)) == expected


@pytest.mark.parametrize('other', [dict(epoch=1), dict(seed=1)])
def test_another_epoch_or_seed_has_other_pixels(root, other):
    here, there = ({key[2]: digest for key, digest in digests(keyed_loader(root, **each)).items()}
                   for each in ({}, other))
    assert sum(here[index] != there[index] for index in range(24)) > 20


def test_the_key_is_stored_in_the_sample(root):
    for batch in keyed_loader(root, epoch=3, seed=7, workers=1):
        for sample in batch['data_samples']:
            assert sample.sample_key == SampleKey(7, 3, sample.sample_idx, 0)
            assert 'sample_key' in sample.metainfo


def test_a_plain_index_is_refused(data):
    for index in (0, (0, 0, 1), np.int64(3)):
        with pytest.raises(TypeError, match=r"KeyedDataset\[.*expected a SampleKey.*'wsld_plugin\.KeyedSampler'"):
            data[index]


def test_attributes_are_those_of_the_wrapped_data_set(data):
    inner = data.dataset
    assert len(data) == len(inner) == 24
    assert data.metainfo == inner.metainfo
    assert data.get_cat_ids(3) == inner.get_cat_ids(3)
    assert list(data.get_gt_labels()) == list(inner.get_gt_labels())
    with pytest.raises(AttributeError, match='no_such'):
        _ = data.no_such
    assert len(pickle.loads(pickle.dumps(data))) == 24
    plain = PackedDataset(data.data_root, pipeline=AUGMENTED[-1:])
    data.pipeline = plain.pipeline
    assert (data[SampleKey(0, 0, 5)]['inputs'] == plain[5]['inputs']).all()


def test_any_data_set_can_be_wrapped_and_repeats_are_augmented_anew(data):
    twice = KeyedDataset(RepeatDataset(data.dataset, times=2))
    first, second = twice[SampleKey(0, 0, 3)]['inputs'], twice[SampleKey(0, 0, 27)]['inputs']
    assert (first == data[SampleKey(0, 0, 3)]['inputs']).all()
    assert (first != second).any()
    assert not hasattr(twice, 'pipeline')  # as for a RepeatDataset alone: mmpretrain's hooks look inside then
    samples = KeyedDataset([(torch.zeros(1), 3)])
    assert samples[SampleKey(0, 0, 0)] == (torch.zeros(1), 3)


def samplers(monkeypatch, data, world, sampler, **more):
    """The sampler of every rank."""
    found = []
    for rank in range(world):
        for module in ('wsld_plugin.datasets.keyed', 'mmengine.dataset.sampler',
                       'mmpretrain.datasets.samplers.repeat_aug'):
            monkeypatch.setattr(f'{module}.get_dist_info', lambda rank=rank: (rank, world))
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            found.append(KeyedSampler(data, dict(sampler), seed=0, **more))
    return found


@pytest.mark.parametrize('world', [1, 4])
def test_ranks_share_the_keys_of_one_process(monkeypatch, data, world):
    found = [key for each in samplers(monkeypatch, data, world, dict(type='DefaultSampler')) for key in each]
    assert sorted(found) == [SampleKey(0, 0, index) for index in range(24)]


@pytest.mark.parametrize('world', [1, 2])
@pytest.mark.parametrize('views', [None, 4])
def test_repetitions_of_an_image_are_repeats_or_views_that_continue_over_epochs(monkeypatch, data, world, views):
    streams = samplers(monkeypatch, data, world, dict(type='RepeatAugSampler', num_repeats=3), views=views)
    for epoch in range(3):
        for each in streams:
            each.set_epoch(epoch)
        found = [key for each in streams for key in each]
        assert len(set(found)) == len(found) == 24
        assert len({key.index for key in found}) == 8
        assert {(key.epoch, key.repeat) for key in found} == (
            {((3 * epoch + view) % 4, 0) for view in range(3)} if views else {(epoch, view) for view in range(3)})


@pytest.mark.parametrize('world', [1, 3])
def test_passes_of_an_endless_sampler_are_repeats_or_views(monkeypatch, data, world):
    for more, expected in ((dict(), [(0, 0), (0, 1), (0, 2)]), (dict(views=2), [(0, 0), (1, 0), (0, 0)])):
        streams = [iter(each) for each in samplers(monkeypatch, data, world, dict(type='InfiniteSampler'), **more)]
        found = [next(stream) for _ in range(72 // world) for stream in streams]
        assert [(key.epoch, key.repeat) for key in found] == [each for each in expected for _ in range(24)]
        assert len(set(found)) == 24 * len(set(expected))


@pytest.mark.parametrize('views', [None, 3])
def test_the_order_is_that_of_the_inner_sampler_and_views_repeat_the_augmentation(data, views):
    plain = DefaultSampler(data, shuffle=True, seed=5)
    sampler = KeyedSampler(data, dict(type='DefaultSampler', shuffle=True), seed=5, views=views)
    orders = []
    for epoch in range(7):
        for each in (plain, sampler):
            each.set_epoch(epoch)
        orders.append(tuple(plain))
        assert list(sampler) == [SampleKey(5, epoch % (views or 7), index) for index in plain]
    assert len(set(orders)) == 7
    assert len(sampler) == len(plain)


def test_the_sampler_is_registered_and_draws_a_seed_if_none_is_given(data):
    assert DATA_SAMPLERS.get('wsld_plugin.KeyedSampler') is KeyedSampler
    np.random.seed(0)  # noqa: NPY002
    sampler = KeyedSampler(data, dict(type='DefaultSampler'))
    assert sampler.seed == sampler.sampler.seed


def draw():
    return random.random(), np.random.random_sample(), np.random.standard_normal(), torch.rand(()).item()  # noqa: NPY002


def test_seeds_are_those_of_earlier_versions():
    """Runs and soft labels of earlier versions can be replayed only while these hold."""
    digest = blake2b(b'3 1 4 0', digest_size=20, person=b'sample').digest()
    python, numpy, torch_ = derive_seeds('sample', 3, 1, 4, 0)
    assert python.to_bytes(8, 'little') + numpy.to_bytes(4, 'little') + torch_.to_bytes(8, 'little') == digest


@pytest.mark.parametrize('error', [None, ZeroDivisionError])
def test_the_process_continues_as_if_nothing_had_been_drawn(error):
    def draws(between):
        seed_everything('iteration', 0)
        found = [draw()]
        for _ in range(2):
            np.random.standard_normal()  # noqa: NPY002  (the second of the pair; the next call begins a new one)
            between()
            found.append(draw())
        return found

    def inside():
        try:
            with seeded('sample', 5):
                draw()
                np.random.seed(3)  # noqa: NPY002
                torch.rand(7)
                if error:
                    raise error
        except ZeroDivisionError:
            pass
    assert draws(inside) == draws(lambda: None)


def keys(n=20000, seed=0, epoch=0, first=0, repeat=0):
    return [(seed, epoch, index, repeat) for index in range(first, first + n)]


def test_states_equal_those_of_unbounded_integers():
    def mix(word):
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        return word ^ word >> 31
    some = [(0, 0, 0, 0), (1, 2, 3, 4), (2**31 - 1, 239, 49999, 0), (2**63 - 1, -1, -2**63, 7)]
    for key, state in zip(some, key_states(some), strict=True):
        expected = 0
        for word in key:
            expected = mix(((expected ^ word % 2**64) + 0x9E3779B97F4A7C15) % 2**64)
        assert int(state) == expected


def test_numbers_are_the_same_on_every_machine():
    # the first number of splitmix64's reference implementation with seed 1234567
    assert int(key_states([(1234567,)])[0]) == 6457827717110365317
    assert random_below(key_states(keys(4, seed=7, epoch=3)), 'crop', 9).tolist() == [8, 7, 8, 5]


@pytest.mark.parametrize('limit', [1, 57, 2**31])
def test_numbers_stay_below_their_limit_and_do_not_depend_on_the_batch(limit):
    numbers = random_below(key_states(keys()), 'crop', limit)
    assert numbers.dtype == np.int64
    assert 0 <= numbers.min() <= numbers.max() < limit
    assert limit > 1000 or len(np.unique(numbers)) == limit
    assert numbers[:20].tolist() == [random_below(key_states([key]), 'crop', limit)[0] for key in keys(20)]


@pytest.mark.parametrize('limit', [2, 57])
@pytest.mark.parametrize('stream', [keys(seed=1, epoch=239), [(0, epoch, 5, 0) for epoch in range(20000)],
                                    [(seed, 0, 5, 0) for seed in range(20000)],
                                    [(0, 0, 5, repeat) for repeat in range(20000)]])
def test_numbers_are_uniform(stream, limit):
    counts = np.bincount(random_below(key_states(stream), 'crop', limit), minlength=limit)
    assert chisquare(counts).pvalue > RARE


@pytest.mark.parametrize(('other', 'purpose'), [
    (dict(first=1), 'crop'), (dict(epoch=1), 'crop'), (dict(seed=1), 'crop'), (dict(repeat=1), 'crop'),
    (dict(), 'left'), (dict(), '0.RandomCrop.top')])
def test_neighbouring_keys_and_other_purposes_have_independent_numbers(other, purpose):
    table = np.zeros((9, 9))
    np.add.at(table, (random_below(key_states(keys()), 'crop', 9),
                      random_below(key_states(keys(**other)), purpose, 9)), 1)
    assert chi2_contingency(table).pvalue > RARE


@pytest.fixture
def config(tmp_path):
    cfg = run_cfg(tmp_path / 'unused', digits_classifier(), custom_imports=dict(imports=['wsld_plugin', 'packs']),
                  custom_hooks=[dict(type='RecordPixels', folder=str(tmp_path / 'pixels'))])
    cfg.train_dataloader.dataset.pipeline = [AUGMENTED[0], AUGMENTED[1], AUGMENTED[-1]]
    path = tmp_path / 'small.py'
    cfg.dump(path)
    return str(path)


def test_only_the_training_set_is_keyed_and_options_name_it_in_its_plain_form(config, tmp_path):
    plain = Config.fromfile(config)
    cfg = training_config(config, work_dir=str(tmp_path / 'run'),
                          options={'train_dataloader.dataset.num_samples': 30,
                                   'train_dataloader.sampler.shuffle': False})
    loader, expected = cfg.train_dataloader, plain.train_dataloader
    assert loader.dataset == dict(type='wsld_plugin.KeyedDataset', dataset={**expected.dataset, 'num_samples': 30})
    assert loader.sampler == dict(type='wsld_plugin.KeyedSampler', sampler={**expected.sampler, 'shuffle': False})
    assert loader.batch_size == expected.batch_size
    assert (cfg.val_dataloader, cfg.test_dataloader) == (plain.val_dataloader, plain.test_dataloader)
    again = Config.fromstring(cfg.dump(), '.py')
    key_training_set(again)
    assert again.train_dataloader == cfg.train_dataloader


def test_views_are_repeated_and_the_hook_that_opens_their_cache_is_added(tmp_path):
    cfg = cached_cfg(tmp_path, teacher=dict(views=3))
    assert cfg.train_dataloader.sampler.views == 3
    assert cfg.default_hooks.soft_labels.type == 'wsld_plugin.SoftLabelsHook'
    again = Config.fromstring(cfg.dump(), '.py')
    for views in (3, None):  # None: for resident data, which are keyed before
        key_training_set(again, views)
        assert (again.train_dataloader, again.default_hooks) == (cfg.train_dataloader, cfg.default_hooks)
    plain = live_cfg(tmp_path)
    key_training_set(plain)
    assert 'views' not in plain.train_dataloader.sampler
    assert 'soft_labels' not in plain.default_hooks


def test_a_training_config_with_a_cached_teacher_is_checked_and_repeats_its_views(tmp_path):
    cfg = cached_cfg(tmp_path, teacher=dict(views=3))
    for part in ('dataset', 'sampler'):
        cfg.train_dataloader[part] = cfg.train_dataloader[part][part]
    cfg.work_dir = str(tmp_path / 'run')
    cfg.dump(tmp_path / 'cached.py')
    assert training_config(str(tmp_path / 'cached.py')).train_dataloader.sampler.views == 3
    with pytest.raises(ConfigError, match='views'):
        training_config(str(tmp_path / 'cached.py'), options={'model.teacher.views': 0})


def test_a_loader_that_other_splits_share_is_not_changed_for_them():
    loader = dict(dataset=dict(type='Digits'), sampler=dict(type='DefaultSampler'))
    cfg = Config(dict(train_dataloader=loader, val_dataloader=loader))
    cfg.val_dataloader = cfg.train_dataloader
    key_training_set(cfg)
    assert cfg.val_dataloader == loader
    assert cfg.train_dataloader.dataset.type == 'wsld_plugin.KeyedDataset'


@pytest.mark.parametrize('loader', [None, dict(batch_size=3)])
def test_a_config_without_a_training_set_is_not_changed(loader):
    cfg = Config(dict(train_dataloader=loader))
    key_training_set(cfg)
    assert cfg.train_dataloader == loader


@pytest.mark.skipif(torch.cuda.is_available(), reason='would need two GPUs')
def test_two_ranks_train_on_the_pixels_of_one(config, tmp_path):
    train(training_config(config, work_dir=str(tmp_path / 'one')))
    one = recorded(tmp_path / 'pixels')
    tool('dist_train.sh', config, 2, '--work-dir', tmp_path / 'two', '--cfg-options',
         f'custom_hooks.0.folder={tmp_path / "halves"}')
    assert len(list(Path(tmp_path / 'halves').iterdir())) == 2
    assert recorded(tmp_path / 'halves') == one
    assert sorted(one) == [(epoch, index) for epoch in range(2) for index in range(40)]
    assert all(len(pixels) == 1 for pixels in one.values())
    assert any(one[0, index] != one[1, index] for index in range(40))


def test_docstring_examples_hold():
    assert doctest.testmod(keyed) == (0, 2)
