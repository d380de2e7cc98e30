import doctest
import itertools
import pickle
import re

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.datasets import BaseDataset
from mmpretrain.models import CrossEntropyLoss
from torch.nn import functional as F

from wsld_plugin.analysis.biased import BiasedLabelStatistics
from wsld_plugin.datasets import Digits, KeyedDataset, SampleKey, weak
from wsld_plugin.datasets.weak import Companions, FewLabels, NoisyLabels, PartialLabels, companion_sets, measure
from wsld_plugin.errors import ConfigError

PIPELINE = [dict(type='mmpretrain.PackInputs')]
WRAPPERS = [(PartialLabels, dict(unreliability=0.2, ambiguity=0.3)), (NoisyLabels, dict(rate=0.5)),
            (FewLabels, dict(num_labels=20)), (Companions, dict(k=3))]
each = pytest.mark.parametrize(('kind', 'settings'), WRAPPERS, ids=[kind.__name__ for kind, _ in WRAPPERS])


def digits(**kwargs):
    return Digits(**{**dict(pipeline=PIPELINE, num_samples=60), **kwargs})


def weak_label(data):
    """The fields of a sample's label."""
    sample = data['data_samples']
    return {name: sample.get(name).tolist() for name in ('gt_label', 'gt_score', 'soft_label') if name in sample}


@each
def test_images_are_those_of_the_wrapped_data_set_and_some_labels_are_not(kind, settings):
    data, plain = kind(digits(), **settings), digits()
    assert len(data) == len(plain)
    assert data.metainfo == plain.metainfo
    assert all(torch.equal(data[i]['inputs'], plain[i]['inputs']) for i in range(60))
    assert any(weak_label(data[i]) != weak_label(plain[i]) for i in range(60))


@each
def test_the_label_is_the_same_in_every_epoch_run_worker_and_copy(kind, settings):
    data = kind(digits(), **settings)
    again = pickle.loads(pickle.dumps(kind(digits(), **settings)))
    for index in (0, 7, 59):
        looks = [weak_label(KeyedDataset(data)[SampleKey(seed, epoch, index)]) for seed in (0, 1) for epoch in (0, 5)]
        assert looks == [weak_label(again[index])] * 4


@each
def test_the_key_is_stored_inside_and_around_a_keyed_data_set(kind, settings):
    key = SampleKey(3, 2, 11, 1)
    inside, around = KeyedDataset(kind(digits(), **settings))[key], kind(KeyedDataset(digits()), **settings)[key]
    assert inside['data_samples'].sample_key == around['data_samples'].sample_key == key
    assert weak_label(inside) == weak_label(around)


@each
def test_a_config_and_a_loader_build_it_on_a_subset(kind, settings):
    inner = dict(type='wsld_plugin.Digits', num_samples=60, pipeline=PIPELINE, indices=list(range(5, 45)))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        loader = Runner.build_dataloader(dict(
            batch_size=20, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(type=f'wsld_plugin.{kind.__name__}', **settings, dataset=inner)))
    data = kind(digits(indices=list(range(5, 45))), **settings)
    assert np.array_equal(data.given_labels, np.array(digits().get_gt_labels())[5:45])
    labels = [weak_label(dict(data_samples=sample)) for batch in loader for sample in batch['data_samples']]
    assert labels == [weak_label(data[index]) for index in range(40)]
    assert DATASETS.get(f'wsld_plugin.{kind.__name__}') is kind


class Scenes(BaseDataset):
    """Several labels per sample."""

    METAINFO = dict(classes=('a', 'b'))

    def load_data_list(self):
        return [dict(gt_label=[0, 1]), dict(gt_label=[1, 0])]


def test_data_without_one_label_each_or_with_one_class_are_refused():
    with pytest.raises(ConfigError, match=r'NoisyLabels: list has no get_gt_labels\(\)'):
        NoisyLabels([1, 2], rate=0.1)
    with pytest.raises(ConfigError, match='the label of sample 0 of Scenes is'):
        NoisyLabels(Scenes(ann_file=''), rate=0.1)
    with pytest.raises(ConfigError, match=r'the label of sample \d+ of FewLabels is -100, expected one index'):
        PartialLabels(FewLabels(digits(), num_labels=10))
    with pytest.raises(ConfigError, match='NoisyLabels: number of classes=1, expected an integer of 2 or more'):
        NoisyLabels(Labels(np.zeros(3, int), 1), rate=0.1)


def test_samples_that_are_not_packed_are_refused():
    with pytest.raises(ConfigError, match=r'returns no DataSample.*PackInputs'):
        NoisyLabels(digits(pipeline=[]), rate=0.1)[0]


class Labels:
    """A data set of which only the labels are known."""

    def __init__(self, labels, num_classes):
        self.labels = labels
        self.metainfo = dict(classes=list(map(str, range(num_classes))))

    def __len__(self):
        return len(self.labels)

    def get_gt_labels(self):
        return self.labels


N, C = 40000, 5
LABELS = np.arange(N) % C
OWN = np.eye(C, dtype=bool)[LABELS]


def candidates(delta, gamma, seed=0, labels=LABELS):
    return PartialLabels(Labels(labels, C), delta, gamma, seed).candidates


def noisy(labels=LABELS, **settings):
    return NoisyLabels(Labels(labels, C), **settings).labels


def near(share, probability, n):
    """Within five standard deviations of a binomial share."""
    return abs(share - probability) <= 5 * np.sqrt(max(probability * (1 - probability), 1e-9) / n) + 1e-12


@pytest.mark.parametrize(('delta', 'gamma', 'seed'), [(0.0, 0.3, 0), (0.2, 0.7, 1), (0.5, 0.0, 0), (1.0, 0.0, 1)])
def test_candidate_sets_have_the_stated_unreliability_and_ambiguity(delta, gamma, seed):
    sets = candidates(delta, gamma, seed)
    assert near(1 - sets[OWN].mean(), delta, N)
    stated = gamma + delta * (1 - gamma) ** (C - 1) / (C - 1)
    for own, wrong in itertools.permutations(range(C), 2):
        assert near(sets[own == LABELS, wrong].mean(), stated, N / C)


def test_candidates_of_a_set_are_drawn_independently():
    sets = candidates(0.3, 0.5)[LABELS == 0]
    kept = sets[sets[:, 0]]
    assert np.abs(np.corrcoef(kept[:, 1:].T) - np.eye(C - 1)).max() < 0.06
    # given that the label is missing, only empty sets are replaced: that of pair {1, 2} is p²(1 - p)² as drawn
    lost = sets[~sets[:, 0]]
    assert near((lost == [False, True, True, False, False]).all(1).mean(), 1 / 16, len(lost))


def test_no_set_is_empty_and_without_unreliability_or_ambiguity_it_is_the_label():
    assert np.array_equal(candidates(0.0, 0.0), OWN)
    assert candidates(0.9, 0.01).any(1).all()
    assert candidates(0.0, 1.0).all()
    assert not candidates(1.0, 0.5)[OWN].any()


def test_soft_labels_are_uniform_over_the_candidates_and_the_label_is_hidden():
    data = PartialLabels(digits(), unreliability=0.3, ambiguity=0.4)
    for index in range(60):
        sample, sets = data[index]['data_samples'], torch.from_numpy(data.candidates[index])
        assert sample.soft_label.dtype == torch.float32
        torch.testing.assert_close(sample.soft_label, sets / sets.sum())
        assert sample.gt_label.tolist() == [-100]
        assert set(sample.keys()) == {'gt_label', 'soft_label'}


@pytest.mark.parametrize('draw', [lambda labels, seed: candidates(0.2, 0.4, seed, labels),
                                  lambda labels, seed: noisy(labels, rate=0.4, seed=seed),
                                  lambda labels, seed: companion_sets(labels, C, 2, seed)])
def test_a_draw_depends_on_seed_index_and_label_alone(draw):
    labels = LABELS[:1000]
    whole = draw(labels, 3)
    assert np.array_equal(whole[:100], draw(labels[:100], 3))
    other = np.where(np.arange(1000) == 500, (labels + 1) % C, labels)
    assert np.array_equal(np.delete(whole, 500, 0), np.delete(draw(other, 3), 500, 0))
    assert not np.array_equal(whole, draw(labels, 4))


@pytest.mark.parametrize('rate', [0.0, 0.4, 1.0])
def test_symmetric_noise_is_wrong_at_its_rate_and_uniform_over_the_other_classes(rate):
    found = noisy(rate=rate)
    for label in range(C):
        shares = np.bincount(found[label == LABELS], minlength=C) / (N // C)
        expected = [1 - rate if each == label else rate / (C - 1) for each in range(C)]
        assert all(map(near, shares, expected, [N / C] * C))


def test_pairs_replace_their_classes_only():
    found = noisy(kind='asymmetric', rate=0.3, pairs={0: 2, '2': 1})  # keys on a command line are text
    assert set(found[LABELS == 0]) == {0, 2}
    assert set(found[LABELS == 2]) == {2, 1}
    assert near((found[LABELS == 0] == 2).mean(), 0.3, N / C)
    others = (LABELS != 0) & (LABELS != 2)
    assert np.array_equal(found[others], LABELS[others])
    assert np.array_equal(noisy(kind='asymmetric', rate=1.0), (LABELS + 1) % C)


@pytest.mark.parametrize('suffix', ['.txt', '.npy'])
def test_noisy_samples_labels_and_the_measured_rate_agree(tmp_path, suffix):
    path = tmp_path / f'labels{suffix}'
    labels = (np.arange(60) * 7) % 10
    np.save(path, labels) if suffix == '.npy' else np.savetxt(path, labels, fmt='%d')
    for data in (NoisyLabels(digits(), kind='file', file=path), NoisyLabels(digits(), rate=0.4, seed=2)):
        given = [data[index]['data_samples'].gt_label.item() for index in range(60)]
        assert given == data.labels.tolist() == data.get_gt_labels().tolist()
        assert data.noise_rate == np.mean(np.array(given) != digits().get_gt_labels())
    assert NoisyLabels(digits(), kind='file', file=path).labels.tolist() == labels.tolist()
    sets = PartialLabels(data, unreliability=0.0, ambiguity=0.0)  # wrappers can be nested
    assert np.array_equal(sets.candidates.argmax(1), data.labels)


@pytest.mark.parametrize(('name', 'content', 'message'), [
    ('a.npy', np.zeros(59, int), 'has int64 of shape (59,), expected an integer for each of the 60 samples'),
    ('a.npy', np.zeros(60), 'has float64 of shape (60,)'),
    ('a.npy', np.arange(60) % 11, 'gives sample 10 the label 10, expected 0 … 9'),
    ('a.npy', '', 'cannot be read as integers'),
    ('a.txt', 'cat\ndog\n', 'cannot be read as integers'),
    ('a.txt', '# no labels yet\n', 'has int64 of shape (0,), expected an integer for each of the 60'),
])
def test_a_file_that_does_not_fit_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content) if isinstance(content, str) else np.save(path, content)
    with pytest.raises(ConfigError, match=re.escape(message)):
        NoisyLabels(digits(), kind='file', file=path)


def test_a_missing_file_is_reported_before_the_data_set_is_built(tmp_path):
    (tmp_path / 'labels.txt').touch()
    for name, message in (('lables.txt', r"there is no file='.*/lables\.txt'\. Did you mean 'labels\.txt'\?"),
                          ('nowhere/labels.txt', r'nowhere/labels\.txt')):
        with pytest.raises(FileNotFoundError, match=message):
            NoisyLabels(dict(type='no_such_data_set'), kind='file', file=tmp_path / name)
    with pytest.raises(ConfigError, match='is a folder, expected a text file'):
        NoisyLabels(digits(), kind='file', file=tmp_path)


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(kind='symetric', rate=0.1), "Did you mean 'symmetric'?"),
    (dict(), "kind='symmetric' with rate=None, expected a rate"),
    (dict(kind='file'), "kind='file' with file=None, expected a file"),
    (dict(kind='file', rate=0.1, file='x'), "kind='file' with rate=0.1, which takes no rate"),
    (dict(rate=0.1, file='x'), "with file='x', which takes no file"),
    (dict(rate=0.1, pairs={0: 1}), "pairs={0: 1}: kind='asymmetric' takes a dict of class indices"),
    (dict(rate=1.5), 'rate=1.5, expected a finite number in [0, 1]'),
    (dict(kind='asymmetric', rate=0.1, pairs={0: 10}), 'pairs names class 10, expected an index, 0 … 9'),
    (dict(kind='asymmetric', rate=0.1, pairs={-1: 0}), 'pairs names class -1'),
    (dict(kind='asymmetric', rate=0.1, pairs={3: 5.5}), 'pairs names class 5.5, expected an index'),
    (dict(kind='asymmetric', rate=0.1, pairs={3: True}), 'pairs names class True'),
    (dict(kind='asymmetric', rate=0.1, pairs={'Cat': 5}), "names class 'Cat', expected an index, 0 … 9. 'cat' is 3."),
    (dict(kind='asymmetric', rate=0.1, pairs=[(3, 5)]), "pairs=[(3, 5)]: kind='asymmetric' takes a dict"),
])
def test_settings_that_do_not_fit_together_are_refused(settings, message):
    animals = digits(metainfo=dict(classes=[*'012', 'cat', *'456789']))
    with pytest.raises(ConfigError, match=re.escape(message)):
        NoisyLabels(animals, **settings)


@pytest.mark.parametrize(('kind', 'settings', 'message'), [
    (PartialLabels, dict(unreliability=1.1), r'unreliability=1\.1, expected a finite number in \[0, 1\]'),
    (PartialLabels, dict(ambiguity=float('nan')), 'ambiguity=nan'),
    (PartialLabels, dict(ambiguity='0.1'), "ambiguity='0.1'"),
    (FewLabels, dict(num_labels=9), 'num_labels=9, expected an integer from 10 to 60'),
    (FewLabels, dict(num_labels=61), 'num_labels=61'),
    (FewLabels, dict(num_labels=True), 'num_labels=True'),
    (Companions, dict(k=1), 'Companions: k=1, expected an integer from 2 to 10'),
    (Companions, dict(k=2.0), r'k=2\.0'),
])
def test_settings_out_of_range_are_refused(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        kind(digits(), **settings)


def few(**settings):
    return FewLabels(digits(num_samples=300), **settings)


def labels_of(data):
    return np.array([data[index]['data_samples'].gt_label.item() for index in range(len(data))])


def test_that_many_are_labelled_equally_many_of_each_class_and_correctly():
    data = few(num_labels=50)
    given = labels_of(data)
    assert np.array_equal(given, data.get_gt_labels())
    known = given >= 0
    assert np.array_equal(np.bincount(given[known]), [5] * 10)
    assert np.array_equal(given[known], data.given_labels[known])
    assert set(given[~known]) == {-100}
    assert few(num_labels=100).labelled[data.labelled].all()
    assert not np.array_equal(few(num_labels=50, seed=1).labelled, data.labelled)


def test_without_the_rest_are_the_same_labelled_samples():
    data, alone = few(num_labels=50), few(num_labels=50, rest=False)
    assert len(alone) == 50
    assert np.array_equal(labels_of(alone), alone.get_gt_labels())
    images = [data[index]['inputs'] for index in np.flatnonzero(data.labelled)]
    assert all(torch.equal(alone[index]['inputs'], images[index]) for index in range(50))


@pytest.mark.parametrize('rest', [False, True])
def test_the_key_of_a_sample_has_its_index_in_the_outermost_data_set(rest):
    keyed = KeyedDataset(digits(num_samples=300))
    around = FewLabels(keyed, num_labels=50, rest=rest)
    inside = KeyedDataset(few(num_labels=50, rest=rest))
    for index in range(len(around)):
        key = SampleKey(3, 2, index, 1)
        one, other = inside[key], around[key]
        assert one['data_samples'].sample_key == other['data_samples'].sample_key == key
        assert 'sample_key' in other['data_samples'].metainfo
        assert one['data_samples'].gt_label == other['data_samples'].gt_label == around.get_gt_labels()[index]
        assert torch.equal(one['inputs'], other['inputs'])
    few_noisy = FewLabels(NoisyLabels(keyed, rate=0.5), num_labels=50, rest=rest)
    sample = few_noisy[SampleKey(0, 0, 49)]['data_samples']
    assert sample.sample_key == SampleKey(0, 0, 49)
    assert sample.gt_label == few_noisy.get_gt_labels()[49]


def test_the_hard_loss_is_that_of_the_labelled_over_all():
    target = torch.tensor([3, -100, 0, -100])
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    loss = CrossEntropyLoss()(logits, target, avg_factor=4)
    torch.testing.assert_close(loss, F.cross_entropy(logits[[0, 2]], target[[0, 2]]) / 2)
    gradient, = torch.autograd.grad(loss, logits)
    assert not gradient[[1, 3]].any()


@pytest.mark.parametrize('k', [2, 10])
def test_the_target_is_largest_at_the_label_and_positive_at_its_companions(k):
    data = Companions(digits(), k=k)
    for index in range(60):
        score, expected = data[index]['data_samples'].gt_score, torch.zeros(10)
        expected[data.companions[index]] = 1 / (k + 1)
        expected[data.given_labels[index]] = 2 / (k + 1)
        torch.testing.assert_close(score, expected)
        assert (score > 0).sum() == k


@pytest.mark.parametrize('count', [1, 4])
def test_companions_are_that_many_wrong_classes_with_equal_probability(count):
    sets = companion_sets(LABELS, C, count, 0)
    assert (sets.sum(1) == count).all()
    assert not sets[OWN].any()
    for own, wrong in itertools.permutations(range(C), 2):
        assert near(sets[own == LABELS, wrong].mean(), count / (C - 1), N / C)


def test_measures_of_sets_equal_counts_and_those_of_logits_that_rank_them():
    labels = LABELS[:500]
    sets = candidates(0.3, 0.4, labels=labels)
    members = [set(np.flatnonzero(row)) for row in sets]
    delta = np.mean([y not in s for s, y in zip(members, labels, strict=True)])
    gamma = max(np.mean([c in s for s, y in zip(members, labels, strict=True) if y != c]) for c in range(C))
    assert measure(sets, labels) == (pytest.approx(delta), pytest.approx(gamma))
    sets = companion_sets(labels, C, 1, 0) | OWN[:500]
    statistics = BiasedLabelStatistics(C)
    statistics.update(torch.from_numpy(2.0 * sets + 0.1 * np.random.default_rng(0).random(sets.shape)),
                      torch.from_numpy(labels))
    result = statistics.result()
    assert measure(sets, labels) == (pytest.approx(result.unreliability[1]), pytest.approx(result.ambiguity[1]))


def test_docstring_examples_hold():
    assert doctest.testmod(weak) == (0, 1)
