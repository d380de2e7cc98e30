import numpy as np
import pytest
import torch

from wsld_plugin.analysis.regularization import MEASURES
from wsld_plugin.hooks.soft_label_counts import SoftLabelCounts


def measures(label, row):
    found = np.full((len(MEASURES), len(label)), .5)
    found[0], found[1] = label, row
    return found


def test_a_sample_that_is_there_twice_counts_twice():
    counts = SoftLabelCounts(4)
    counts.add(measures([1, 1, 0], [0, 1, 1]), np.array([2, 2, 0]), np.ones(3, int))
    np.testing.assert_array_equal(counts.samples, [[1, 0, 2, 0], [0, 0, 2, 0], [1, 0, 1, 0]])


def test_samples_without_a_place_are_summed_but_not_counted():
    counts = SoftLabelCounts(4)
    counts.add(measures([1, 0], [0, 0]), np.array([-1, -1]), np.ones(2, int))
    assert counts.epochs[1]['count'] == 2
    assert counts.samples is None


def test_what_is_not_finite_is_not_counted():
    counts = SoftLabelCounts(2)
    broken = measures([1, 1], [1, 1])
    broken[5, 0] = np.inf
    counts.add(broken, np.array([0, 1]), np.ones(2, int))
    np.testing.assert_array_equal(counts.samples[0], [0, 1])
    assert (counts.epochs[1]['count'], counts.epochs[1]['left_out']) == (1, 1)


def test_epochs_that_are_read_together_are_summed_up_apart():
    counts = SoftLabelCounts(2)
    counts.add(measures([1, 0, 1], [0, 0, 0]), np.array([0, 1, 0]), np.array([1, 1, 2]))
    assert {epoch: (summary['count'], summary['sums'][0]) for epoch, summary in counts.epochs.items()} == {
        1: (2, 1.0), 2: (1, 1.0)}
    assert counts.since_log['count'] == 3


@pytest.mark.parametrize('keyed', [False, True])
def test_a_restored_state_goes_on_as_the_first(tmp_path, keyed):
    places = np.array([0, 1]) if keyed else np.array([-1, -1])
    first, second = SoftLabelCounts(3), SoftLabelCounts(3)
    first.add(measures([1, 0], [1, 1]), places, np.array([3, 4]))
    torch.save(first.state_dict(), tmp_path / 'state.pth')
    second.load_state_dict(torch.load(tmp_path / 'state.pth', weights_only=True))
    for counts in (first, second):
        counts.add(measures([1, 1], [0, 1]), places, np.array([4, 4]))
    assert list(second.epochs) == list(first.epochs) == [3, 4]
    for one, other in ((first.since_log, second.since_log), *zip(first.epochs.values(), second.epochs.values(),
                                                                strict=True)):
        for key, value in one.items():
            np.testing.assert_array_equal(other[key], value)
    np.testing.assert_array_equal(second.samples, first.samples)
