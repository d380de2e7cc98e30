import numpy as np
import pytest

from wsld_plugin.datasets import Digits, KeyedSampler, PartSampler
from wsld_plugin.errors import ConfigError


class Labels:
    """A data set of which only the labels are known; many folders of images are sorted by class."""

    def __init__(self, labels):
        self.labels = np.sort(labels)

    def __len__(self):
        return len(self.labels)

    def get_gt_labels(self):
        return self.labels


UNEVEN = Labels(np.repeat([0, 1, 2], [10, 60, 35]))


def indices(dataset, part, parts, **options):
    return list(PartSampler(dataset, parts=parts, part=part, shuffle=False, **options))


@pytest.mark.parametrize('dataset', [Digits(), UNEVEN])
def test_parts_are_disjoint_of_one_size_and_hold_each_class_equally(dataset):
    parts = [indices(dataset, part, 6) for part in range(6)]
    assert {len(part) for part in parts} == {len(dataset) // 6}
    assert len(set(np.concatenate(parts))) == 6 * (len(dataset) // 6)
    labels = dataset.get_gt_labels()
    counts = np.array([np.bincount(labels[part], minlength=labels.max() + 1) for part in parts])
    assert np.ptp(counts, axis=0).max() <= 1


@pytest.mark.parametrize('seed', range(60))
def test_two_parts_differ_by_one_sample_of_a_class_at_most_whatever_their_size(seed):
    generator = np.random.default_rng(seed)
    parts, classes = generator.integers(2, 9), generator.integers(1, 8)
    shares = generator.dirichlet(np.ones(classes))
    dataset = Labels(generator.choice(classes, generator.integers(parts, 80), p=shares))
    for size in range(1, len(dataset) // parts + 1):
        taken = [indices(dataset, part, parts, size=size) for part in range(parts)]
        assert len(set(np.concatenate(taken))) == parts * size
        counts = np.array([np.bincount(dataset.labels[part], minlength=classes) for part in taken])
        assert np.ptp(counts, axis=0).max() <= 1


def test_a_smaller_size_is_within_the_part_and_over_all_classes():
    labels = Digits().get_gt_labels()
    for part in (0, 11):
        few, whole = indices(Digits(), part, 4 if part == 0 else 12, size=50), indices(Digits(), part,
                                                                                       4 if part == 0 else 12)
        assert set(few) <= set(whole)
        assert len(set(few)) == 50
        assert np.bincount(np.asarray(labels)[few], minlength=10).min() >= 3


def test_the_part_is_the_seeds_and_its_order_too_but_not_its_samples():
    def of_seed(seed, **options):
        return list(PartSampler(Digits(), parts=5, seed=seed, **options))
    assert of_seed(7, shuffle=False) == indices(Digits(), 2, 5)
    assert sorted(of_seed(7)) == sorted(of_seed(12)) == sorted(of_seed(7, shuffle=False))
    assert of_seed(7) != of_seed(12)


def test_an_epoch_shuffles_anew_within_the_part_also_under_a_keyed_sampler():
    sampler = KeyedSampler(Digits(), dict(type='wsld_plugin.PartSampler', parts=5, size=30), seed=1)
    assert len(sampler) == 30
    first = [key.index for key in sampler]
    sampler.set_epoch(1)
    second = [key.index for key in sampler]
    assert first != second
    assert sorted(first) == sorted(second) == sorted(indices(Digits(), 1, 5, size=30))


@pytest.mark.parametrize(('part', 'parts', 'size', 'message'), [
    (5, 5, None, 'part=5, parts=5.*expected a part of 0 … 4'),
    (-1, 5, None, 'part=-1'),
    (0, 5, 241, 'size=241.*1200 samples in 5 parts are 240 each'),
    (0, 1201, None, r'^PartSampler\(parts=1201\), .* 1 or more and not more than the 1200 samples'),
    (None, 0, None, r'parts=0\), expected a number of parts'),
    (0, -2, None, r'parts=-2\)'),
    (0, 2.0, None, r'parts=2\.0\)'),
    (0, 5, 0, 'size=0.*a size of 1 … 240'),
])
def test_a_part_that_is_not_there_is_refused(part, parts, size, message):
    with pytest.raises(ConfigError, match=message):
        PartSampler(Digits(), parts=parts, part=part, size=size)
