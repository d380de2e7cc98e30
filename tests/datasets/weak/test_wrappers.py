"""What every data set with weak labels does with the samples, the keys and the data set inside."""
import pickle

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.datasets import BaseDataset

from wsld_plugin.datasets import Digits, KeyedDataset, SampleKey
from wsld_plugin.datasets.weak import Companions, FewLabels, NoisyLabels, PartialLabels
from wsld_plugin.errors import ConfigError

PIPELINE = [dict(type='mmpretrain.PackInputs')]
WRAPPERS = [(PartialLabels, dict(unreliability=0.2, ambiguity=0.3)), (NoisyLabels, dict(rate=0.5)),
            (FewLabels, dict(num_labels=20)), (Companions, dict(k=3))]
each = pytest.mark.parametrize(('kind', 'settings'), WRAPPERS, ids=[kind.__name__ for kind, _ in WRAPPERS])


def digits(**kwargs):
    return Digits(**{**dict(pipeline=PIPELINE, num_samples=60), **kwargs})


def weak_label(data):
    """All that a sample says of its label."""
    sample = data['data_samples']
    return {name: sample.get(name).tolist() for name in ('gt_label', 'gt_score', 'soft_label') if name in sample}


@each
def test_images_are_the_wrapped_data_sets_and_labels_are_not_all(kind, settings):
    data, plain = kind(digits(), **settings), digits()
    assert len(data) == len(plain)
    assert data.metainfo == plain.metainfo
    assert all(torch.equal(data[i]['inputs'], plain[i]['inputs']) for i in range(60))
    assert any(weak_label(data[i]) != weak_label(plain[i]) for i in range(60))


@each
def test_the_label_is_the_same_for_every_look_worker_and_start(kind, settings):
    data = kind(digits(), **settings)
    again = pickle.loads(pickle.dumps(kind(digits(), **settings)))
    for index in (0, 7, 59):
        looks = [weak_label(KeyedDataset(data)[SampleKey(seed, epoch, index)]) for seed in (0, 1) for epoch in (0, 5)]
        assert looks == [weak_label(again[index])] * 4


@each
def test_the_key_reaches_the_sample_inside_and_around_a_keyed_data_set(kind, settings):
    key = SampleKey(3, 2, 11, 1)
    inside, around = KeyedDataset(kind(digits(), **settings))[key], kind(KeyedDataset(digits()), **settings)[key]
    assert inside['data_samples'].sample_key == around['data_samples'].sample_key == key
    assert weak_label(inside) == weak_label(around)


@each
def test_a_subset_by_indices_is_relabelled(kind, settings):
    places = list(range(5, 45))
    data = kind(digits(indices=places), **settings)
    assert len(data) == 40
    assert np.array_equal(data.given_labels, np.array(digits().get_gt_labels())[places])
    assert torch.equal(data[3]['inputs'], digits()[8]['inputs'])


@each
def test_a_config_and_a_loader_build_it(kind, settings):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        loader = Runner.build_dataloader(dict(
            batch_size=20, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(type=f'wsld_plugin.{kind.__name__}', **settings,
                         dataset=dict(type='wsld_plugin.Digits', num_samples=60, pipeline=PIPELINE))))
    data = kind(digits(), **settings)
    labels = [weak_label(dict(data_samples=sample)) for batch in loader for sample in batch['data_samples']]
    assert labels == [weak_label(data[index]) for index in range(60)]


def test_the_pipeline_can_be_exchanged_in_a_run():
    data = NoisyLabels(digits(), rate=0.1)
    data.pipeline = pipeline = digits().pipeline
    assert data.dataset.pipeline is pipeline


def test_wrappers_can_be_nested():
    noisy = NoisyLabels(digits(), rate=0.5)
    sets = PartialLabels(noisy, unreliability=0.0, ambiguity=0.0)
    assert np.array_equal(sets.candidates.argmax(1), noisy.labels)


class Scenes(BaseDataset):
    """Several labels a sample."""

    METAINFO = dict(classes=('a', 'b'))

    def load_data_list(self):
        return [dict(gt_label=[0, 1]), dict(gt_label=[1, 0])]


def test_data_without_one_label_each_are_refused():
    with pytest.raises(ConfigError, match=r'NoisyLabels: list has no get_gt_labels\(\)'):
        NoisyLabels([1, 2], rate=0.1)
    with pytest.raises(ConfigError, match='the label of sample 0 of Scenes is'):
        NoisyLabels(Scenes(ann_file=''), rate=0.1)
    with pytest.raises(ConfigError, match=r'the label of sample \d+ of FewLabels is -100, expected one index'):
        PartialLabels(FewLabels(digits(), num_labels=10))


def test_samples_that_are_not_packed_are_refused():
    with pytest.raises(ConfigError, match=r'gives no DataSample.*PackInputs'):
        NoisyLabels(digits(pipeline=[]), rate=0.1)[0]


def test_the_registry_knows_them():
    for kind, settings in WRAPPERS:
        cfg = dict(type=f'wsld_plugin.{kind.__name__}', dataset=digits(), **settings)
        assert isinstance(DATASETS.build(cfg), kind)
