import doctest

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits

from wsld_plugin.datasets import Digits, KeyedSampler, Mixture, PartSampler, digits
from wsld_plugin.errors import ConfigError


def images(data):
    return np.stack([data.get_data_info(index)['img'] for index in range(len(data))])


def test_the_splits_are_disjoint_and_complete_and_labels_belong_to_their_images():
    whole = load_digits()
    expected = sorted((np.round(image * 255 / 16).astype(np.uint8).tobytes(), int(label))
                      for image, label in zip(whole.images, whole.target, strict=True))
    parts = [Digits(split=split) for split in ('train', 'test')]
    assert [images(part).shape for part in parts] == [(1200, 8, 8, 1), (597, 8, 8, 1)]
    assert images(parts[0]).dtype == np.uint8
    assert sorted((image.tobytes(), label) for part in parts
                  for image, label in zip(images(part), part.get_gt_labels(), strict=True)) == expected


@pytest.mark.parametrize('n', [10, 250])
def test_every_beginning_of_the_digits_is_balanced(n):
    labels = list(Digits(num_samples=n).get_gt_labels())
    assert set(np.bincount(labels, minlength=10)) == {n // 10}
    assert list(Digits(num_samples=2 * n).get_gt_labels())[:n] == labels


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(split='tran'), "split='tran'.*Did you mean 'train'"),
    (dict(num_samples=0), 'num_samples=0, expected an integer from 1 to 1200'),
    (dict(split='test', num_samples=598), 'from 1 to 597'),
])
def test_digits_that_do_not_exist_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Digits(**arguments)


def test_the_posterior_is_that_of_bayes_rule_for_each_image():
    priors = [.5, .3, .2]
    data = Mixture(num_samples=20, num_classes=3, priors=priors)
    joint = np.array([[prior * multivariate_normal(mean.ravel(), 64.0 ** 2).pdf(image.ravel()) * 1e150
                       for mean, prior in zip(data.means, priors, strict=True)] for image in images(data)])
    np.testing.assert_allclose(data.posteriors(), joint / joint.sum(axis=1, keepdims=True), rtol=1e-6, atol=1e-12)


def test_labels_follow_their_posteriors():
    data = Mixture(num_samples=4000, num_classes=4, separation=2.0, seed=1)
    posterior, labels = data.posteriors(), np.asarray(data.get_gt_labels())
    for low, high in ((0, .1), (.1, .3), (.3, .6), (.6, .9)):
        rows, classes = np.nonzero((posterior >= low) & (posterior < high))
        expected = posterior[rows, classes]
        right = labels[rows] == classes
        standard_error = (expected * (1 - expected)).sum() ** .5 / len(rows)
        assert abs(right.mean() - expected.mean()) < 4 * standard_error


def test_a_seed_and_a_split_draw_other_images_of_the_same_problem():
    draws = [Mixture(num_samples=30, seed=0), Mixture(num_samples=30, seed=1), Mixture(split='test', num_samples=30)]
    assert len({images(data).tobytes() for data in draws}) == 3
    assert len({data.means.tobytes() for data in draws}) == 1


def test_fewer_samples_are_the_first_of_more():
    few, more = Mixture(num_samples=10), Mixture()
    np.testing.assert_array_equal(images(few), images(more)[:10])
    assert list(few.get_gt_labels()) == list(more.get_gt_labels())[:10]
    assert (len(more), len(Mixture(split='test'))) == (1200, 600)


def test_priors_are_the_frequencies_and_classes_have_names():
    data = Mixture(num_samples=4000, num_classes=2, priors=[.9, .1])
    assert np.mean(data.get_gt_labels()) == pytest.approx(.1, abs=.02)
    assert data.metainfo['classes'] == ('0', '1')


def test_classes_further_apart_are_easier():
    right = [(data.posteriors().argmax(axis=1) == data.get_gt_labels()).mean()
             for data in (Mixture(separation=separation) for separation in (2., 4., 8.))]
    assert right[0] < .6 < .8 < right[1] < .99 < right[2]


@pytest.mark.parametrize(('options', 'message'), [
    (dict(split='tets'), "split='tets'.*Did you mean 'test'"),
    (dict(num_classes=1), 'num_classes=1, expected an integer of 2 or more'),
    (dict(num_samples=0), 'num_samples=0, expected an integer of 1 or more'),
    (dict(separation=0.), r'separation=0\.0, expected a finite number in \(0'),
    (dict(num_classes=2, priors=[.5, .4]), 'expected 2 numbers above 0 that sum to 1'),
    (dict(num_classes=2, priors=[1.]), 'expected 2 numbers'),
])
def test_a_mixture_that_is_none_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Mixture(**options)


class Labels:
    """A data set of which only the labels are known; many folders of images are sorted by class."""

    def __init__(self, labels):
        self.labels = np.sort(labels)

    def __len__(self):
        return len(self.labels)

    def get_gt_labels(self):
        return self.labels


def indices(dataset, part, parts, **options):
    return list(PartSampler(dataset, parts=parts, part=part, shuffle=False, **options))


@pytest.mark.parametrize('dataset', [Digits(), Labels(np.repeat([0, 1, 2], [10, 60, 35]))])
def test_parts_are_disjoint_equally_large_and_balanced(dataset):
    parts = [indices(dataset, part, 6) for part in range(6)]
    assert {len(part) for part in parts} == {len(dataset) // 6}
    assert len(set(np.concatenate(parts))) == 6 * (len(dataset) // 6)
    counts = np.array([np.bincount(dataset.get_gt_labels()[part], minlength=10) for part in parts])
    assert np.ptp(counts, axis=0).max() <= 1


@pytest.mark.parametrize('seed', range(10))
def test_two_parts_differ_by_at_most_one_sample_of_a_class_for_any_size(seed):
    generator = np.random.default_rng(seed)
    parts, classes = generator.integers(2, 9), generator.integers(1, 8)
    shares = generator.dirichlet(np.ones(classes))
    dataset = Labels(generator.choice(classes, generator.integers(parts, 80), p=shares))
    for size in range(1, len(dataset) // parts + 1):
        taken = [indices(dataset, part, parts, size=size) for part in range(parts)]
        assert len(set(np.concatenate(taken))) == parts * size
        counts = np.array([np.bincount(dataset.labels[part], minlength=classes) for part in taken])
        assert np.ptp(counts, axis=0).max() <= 1
        assert all(set(each) <= set(indices(dataset, part, parts)) for part, each in enumerate(taken))


def test_the_part_and_its_order_depend_on_the_seed_and_its_samples_do_not():
    def of_seed(seed, **options):
        return list(PartSampler(Digits(), parts=5, seed=seed, **options))
    assert of_seed(7, shuffle=False) == indices(Digits(), 2, 5)
    assert sorted(of_seed(7)) == sorted(of_seed(12)) == sorted(of_seed(7, shuffle=False))
    assert of_seed(7) != of_seed(12)


def test_an_epoch_shuffles_the_part_anew_also_under_a_keyed_sampler():
    sampler = KeyedSampler(Digits(), dict(type='wsld_plugin.PartSampler', parts=5, size=30), seed=1)
    assert len(sampler) == 30
    first = [key.index for key in sampler]
    sampler.set_epoch(1)
    second = [key.index for key in sampler]
    assert first != second
    assert sorted(first) == sorted(second) == sorted(indices(Digits(), 1, 5, size=30))


@pytest.mark.parametrize(('part', 'parts', 'size', 'message'), [
    (5, 5, None, 'PartSampler: part=5, expected an integer from 0 to 4'),
    (-1, 5, None, 'part=-1'),
    (0, 5, 241, '1200 samples in 5 parts.*size=241, expected an integer from 1 to 240'),
    (0, 5, 0, 'size=0'),
    (0, 1201, None, 'parts=1201, expected an integer from 1 to 1200'),
    (None, 0, None, 'parts=0'),
    (0, 2.0, None, r'parts=2\.0'),
])
def test_a_part_that_does_not_exist_is_refused(part, parts, size, message):
    with pytest.raises(ConfigError, match=message):
        PartSampler(Digits(), parts=parts, part=part, size=size)


def test_docstring_examples_hold():
    assert doctest.testmod(digits) == (0, 1)
