import numpy as np
import pytest
import torch
from mmpretrain.models import CrossEntropyLoss
from torch.nn import functional as F

from wsld_plugin.datasets import Digits, KeyedDataset, SampleKey
from wsld_plugin.datasets.weak import FewLabels, NoisyLabels
from wsld_plugin.errors import ConfigError

PIPELINE = [dict(type='mmpretrain.PackInputs')]


def few(**settings):
    return FewLabels(Digits(num_samples=300, pipeline=PIPELINE), **settings)


def labels(data):
    return torch.cat([data[index]['data_samples'].gt_label for index in range(len(data))])


def test_that_many_are_labelled_the_classes_equally_and_truly():
    data = few(num_labels=50)
    given = labels(data).numpy()
    assert np.array_equal(given, data.get_gt_labels())
    known = given >= 0
    assert np.array_equal(np.bincount(given[known]), [5] * 10)
    assert np.array_equal(given[known], data.given_labels[known])
    assert set(given[~known]) == {-100}


def test_without_the_rest_are_the_same_labelled_samples():
    data, alone = few(num_labels=50), few(num_labels=50, rest=False)
    assert len(alone) == 50
    assert np.array_equal(labels(alone), alone.get_gt_labels())
    images = [data[index]['inputs'] for index in np.flatnonzero(data.labelled)]
    assert all(torch.equal(alone[index]['inputs'], images[index]) for index in range(50))


def test_a_key_counts_the_samples_that_are_there():
    alone = few(num_labels=50, rest=False)
    taken = KeyedDataset(alone)[SampleKey(0, 0, 49)]
    assert torch.equal(taken['inputs'], few(num_labels=50)[int(alone.places[49])]['inputs'])
    assert taken['data_samples'].gt_label == alone.get_gt_labels()[49]


@pytest.mark.parametrize('rest', [False, True])
def test_the_key_of_a_sample_is_its_place_in_this_data_set_inside_and_around_a_keyed_one(rest):
    inside = KeyedDataset(few(num_labels=50, rest=rest))
    around = FewLabels(KeyedDataset(Digits(num_samples=300, pipeline=PIPELINE)), num_labels=50, rest=rest)
    for index in range(len(around)):
        key = SampleKey(3, 2, index, 1)
        one, other = inside[key], around[key]
        assert one['data_samples'].sample_key == other['data_samples'].sample_key == key
        assert 'sample_key' in other['data_samples'].metainfo
        assert one['data_samples'].gt_label == other['data_samples'].gt_label == around.get_gt_labels()[index]
        assert torch.equal(one['inputs'], other['inputs'])


def test_the_key_is_that_of_the_outermost_of_nested_data_sets():
    keyed = KeyedDataset(Digits(num_samples=300, pipeline=PIPELINE))
    noisy_few = NoisyLabels(FewLabels(keyed, num_labels=50, rest=False), rate=0.5)
    few_noisy = FewLabels(NoisyLabels(keyed, rate=0.5), num_labels=50, rest=False)
    for data in (noisy_few, few_noisy):
        sample = data[SampleKey(0, 0, 49)]['data_samples']
        assert sample.sample_key == SampleKey(0, 0, 49)
        assert sample.gt_label == data.get_gt_labels()[49]


def test_more_labels_keep_the_ones_that_were_there_and_another_seed_takes_others():
    labelled = few(num_labels=50).labelled
    assert few(num_labels=100).labelled[labelled].all()
    assert not np.array_equal(few(num_labels=50, seed=1).labelled, labelled)


def test_the_hard_loss_is_that_of_the_labelled_over_all():
    target = torch.tensor([3, -100, 0, -100])
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    loss = CrossEntropyLoss()(logits, target, avg_factor=4)
    known = logits[[0, 2]]
    torch.testing.assert_close(loss, F.cross_entropy(known, target[[0, 2]]) / 2)
    gradient, = torch.autograd.grad(loss, logits)
    assert not gradient[[1, 3]].any()


@pytest.mark.parametrize('count', [9, 301, 2.5, True])
def test_a_number_of_labels_that_is_not_there_is_refused(count):
    with pytest.raises(ConfigError, match=r'num_labels is .*, expected 10 … 300'):
        few(num_labels=count)
