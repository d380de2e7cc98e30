"""A batch of resident data beside one that a usual loader gives, as a model reads them."""
import copy

import numpy as np
import pytest
import torch
from factories import RGB, batch, classifier
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample

from wsld_plugin.datasets import SampleKey
from wsld_plugin.datasets.resident_batch import ResidentBatch, whole_batch

KEYS = [SampleKey(5, 2, index) for index in range(4)]


class Arrays:
    """Images and labels, without augmentation."""

    def __init__(self, data):
        self.images = torch.stack(data['inputs'])
        self.labels = torch.cat([sample.gt_label for sample in data['data_samples']])

    def images_of(self, numbers):
        return self.images[numbers[:, 0]]

    def labels_of(self, numbers):
        return self.labels[numbers[:, 0]]


@pytest.fixture
def usual():
    return batch()


@pytest.fixture
def resident(usual):
    return ResidentBatch(Arrays(usual), torch.arange(4)[:, None], KEYS)


def test_it_reads_as_the_dict_of_a_loader(usual, resident):
    assert list(resident) == ['inputs', 'data_samples']
    assert len(resident) == 2
    assert resident.get('no_such') is None
    assert (resident['inputs'] == torch.stack(usual['inputs'])).all()
    assert whole_batch(resident) is resident


def test_samples_are_mmpretrains_with_label_and_key(usual, resident):
    for sample, expected, key in zip(resident['data_samples'], usual['data_samples'], KEYS, strict=True):
        assert type(sample) is DataSample
        assert (sample.gt_label == expected.gt_label).all()
        assert sample.gt_label.shape == (1,)
        assert 'gt_score' not in sample
        assert sample.metainfo == dict(sample_key=key, sample_idx=key.index)
        twin = sample.clone().set_gt_score([0.5, 0.5])
        assert 'gt_score' in twin
        assert twin.to('cpu').sample_key == key
        assert 'gt_label: tensor' in repr(copy.deepcopy(sample))


@pytest.mark.parametrize('more', [dict(), dict(to_onehot=True, num_classes=5),
                                  dict(num_classes=5, batch_augments=dict(augments=dict(type='Mixup', alpha=0.8)))])
@pytest.mark.parametrize('training', [True, False])
def test_a_data_preprocessor_makes_the_same_of_both(usual, resident, more, training):
    preprocessor = MODELS.build(dict(_scope_='mmpretrain', **copy.deepcopy(RGB), **more))
    found = []
    for data in (dict(inputs=resident['inputs'], data_samples=usual['data_samples']), resident):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002  (Mixup draws from it)
        found.append(preprocessor(data, training))
    assert (found[0]['inputs'] == found[1]['inputs']).all()
    for expected, sample in zip(found[0]['data_samples'], found[1]['data_samples'], strict=True):
        for name, value in expected.items():
            assert (sample.get(name) == value).all()


def test_a_classifier_has_the_same_loss_for_both(usual, resident):
    model = MODELS.build(classifier(data_preprocessor=RGB))
    model.init_weights()
    losses = [model(**model.data_preprocessor(data, True), mode='loss')['loss'] for data in (usual, resident)]
    assert losses[0] == losses[1]


def test_without_keys_a_sample_has_none(resident):
    samples = ResidentBatch(resident.source, resident.numbers, None)['data_samples']
    assert [int(sample.gt_label) for sample in samples] == resident.source.labels.tolist()
    assert samples[0].metainfo == {}
    with pytest.raises(AttributeError, match='sample_key'):
        _ = samples[0].sample_key


def test_it_follows_its_numbers(resident):
    before = resident['inputs']
    resident.numbers.copy_(torch.tensor([[3], [2], [1], [0]]))
    assert (resident['inputs'] == before.flip(0)).all()
