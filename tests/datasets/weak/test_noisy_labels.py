import re

import numpy as np
import pytest

from wsld_plugin.datasets import Digits
from wsld_plugin.datasets.weak import NoisyLabels
from wsld_plugin.errors import ConfigError

PIPELINE = [dict(type='mmpretrain.PackInputs')]


def noisy(**settings):
    return NoisyLabels(Digits(num_samples=200, pipeline=PIPELINE), **settings)


def test_the_samples_the_labels_and_the_measured_rate_agree():
    data = noisy(rate=0.4, seed=2)
    given = [data[index]['data_samples'].gt_label.item() for index in range(200)]
    assert given == data.labels.tolist() == data.get_gt_labels().tolist()
    true = Digits(num_samples=200).get_gt_labels()
    assert data.noise_rate == np.mean(np.array(given) != true)
    assert 0.3 < data.noise_rate < 0.5


def test_asymmetric_noise_without_pairs_is_the_next_class():
    data = noisy(kind='asymmetric', rate=1.0)
    assert np.array_equal(data.labels, (data.given_labels + 1) % 10)


def test_pairs_may_be_text_as_on_a_command_line():
    data = noisy(kind='asymmetric', rate=1.0, pairs={'3': 8})
    assert np.array_equal(data.labels, np.where(data.given_labels == 3, 8, data.given_labels))


@pytest.mark.parametrize('suffix', ['.txt', '.npy'])
def test_labels_of_a_file_are_those_of_the_samples(tmp_path, suffix):
    labels = (np.arange(200) * 7) % 10
    path = tmp_path / f'labels{suffix}'
    np.save(path, labels) if suffix == '.npy' else np.savetxt(path, labels, fmt='%d')
    data = noisy(kind='file', file=path)
    assert np.array_equal(data.labels, labels)
    assert data[13]['data_samples'].gt_label.tolist() == [labels[13]]


@pytest.mark.parametrize(('labels', 'message'), [
    (np.zeros(199, int), 'holds int64 of shape (199,), expected an integer for each of the 200 samples'),
    (np.zeros(200), 'holds float64 of shape (200,)'),
    (np.arange(200) % 11, 'gives sample 10 the label 10, expected 0 … 9'),
])
def test_a_file_that_does_not_fit_is_refused(tmp_path, labels, message):
    np.save(tmp_path / 'labels.npy', labels)
    with pytest.raises(ConfigError, match=re.escape(message)):
        noisy(kind='file', file=tmp_path / 'labels.npy')


def test_a_file_of_words_or_none_at_all_is_refused(tmp_path):
    (tmp_path / 'labels.txt').write_text('cat\ndog\n')
    with pytest.raises(ConfigError, match='cannot be read as integers'):
        noisy(kind='file', file=tmp_path / 'labels.txt')
    with pytest.raises(FileNotFoundError, match=r"there is no file='.*/lables\.txt'\. Did you mean 'labels\.txt'\?"):
        noisy(kind='file', file=tmp_path / 'lables.txt')
    with pytest.raises(FileNotFoundError, match=r'nowhere/labels\.txt'):
        noisy(kind='file', file=tmp_path / 'nowhere' / 'labels.txt')
    with pytest.raises(ConfigError, match='is a folder, expected a text file'):
        noisy(kind='file', file=tmp_path)


@pytest.mark.parametrize('content', ['', '# no labels yet\n'])
def test_an_empty_file_is_refused_with_how_many_labels_are_expected(tmp_path, content):
    (tmp_path / 'labels.txt').write_text(content)
    with pytest.raises(ConfigError, match=r'holds int64 of shape \(0,\), expected an integer for each of the 200'):
        noisy(kind='file', file=tmp_path / 'labels.txt')
    (tmp_path / 'labels.npy').write_text(content)
    with pytest.raises(ConfigError, match=r'labels\.npy.* cannot be read as integers'):
        noisy(kind='file', file=tmp_path / 'labels.npy')


def test_a_file_that_is_not_there_is_told_before_the_data_set_is_built(tmp_path):
    with pytest.raises(FileNotFoundError):
        NoisyLabels(dict(type='no_such_data_set'), kind='file', file=tmp_path / 'none.txt')


def test_a_class_by_its_name_is_refused_with_its_index():
    animals = Digits(num_samples=200, pipeline=PIPELINE, metainfo=dict(classes=[*'012', 'cat', *'456789']))
    with pytest.raises(ConfigError, match=r"pairs names class 'Cat', expected an index, 0 … 9\. 'cat' is 3\."):
        NoisyLabels(animals, kind='asymmetric', rate=0.1, pairs={'Cat': 5})


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(kind='symetric', rate=0.1), "Did you mean 'symmetric'?"),
    (dict(), "kind='symmetric' with rate=None, expected a rate"),
    (dict(kind='file'), "kind='file' with file=None, expected a file"),
    (dict(kind='file', rate=0.1, file='x'), "kind='file' with rate=0.1, which takes no rate"),
    (dict(rate=0.1, file='x'), "with file='x', which takes no file"),
    (dict(rate=0.1, pairs={0: 1}), 'takes no pairs'),
    (dict(rate=1.5), 'rate is 1.5'),
    (dict(kind='asymmetric', rate=0.1, pairs={0: 10}), 'pairs names class 10, expected an index, 0 … 9'),
    (dict(kind='asymmetric', rate=0.1, pairs={-1: 0}), 'pairs names class -1'),
    (dict(kind='asymmetric', rate=0.1, pairs={3: 5.5}), 'pairs names class 5.5, expected an index'),
    (dict(kind='asymmetric', rate=0.1, pairs={3: True}), 'pairs names class True'),
    (dict(kind='asymmetric', rate=0.1, pairs={'cat': 5}), "pairs names class 'cat', expected an index"),
    (dict(kind='asymmetric', rate=0.1, pairs={'5.5': 3}), "pairs names class '5.5'"),
    (dict(kind='asymmetric', rate=0.1, pairs=[(3, 5)]), 'pairs is [(3, 5)], expected a dict of class indices'),
])
def test_settings_that_do_not_belong_together_are_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        noisy(**settings)
