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
    counts.add(measures([1, 1, 0], [0, 1, 1]), np.array([2, 2, 0]))
    np.testing.assert_array_equal(counts.samples, [[1, 0, 2, 0], [0, 0, 2, 0], [1, 0, 1, 0]])


def test_samples_without_a_place_are_summed_but_not_counted():
    counts = SoftLabelCounts(4)
    counts.add(measures([1, 0], [0, 0]), np.array([-1, -1]))
    assert counts.in_epoch['count'] == 2
    assert counts.samples is None


def test_what_is_not_finite_is_not_counted():
    counts = SoftLabelCounts(2)
    broken = measures([1, 1], [1, 1])
    broken[5, 0] = np.inf
    counts.add(broken, np.array([0, 1]))
    np.testing.assert_array_equal(counts.samples[0], [0, 1])
    assert (counts.in_epoch['count'], counts.in_epoch['left_out']) == (1, 1)


@pytest.mark.parametrize('keyed', [False, True])
def test_a_restored_state_goes_on_as_the_first(tmp_path, keyed):
    places = np.array([0, 1]) if keyed else np.array([-1, -1])
    first, second = SoftLabelCounts(3), SoftLabelCounts(3)
    first.add(measures([1, 0], [1, 1]), places)
    torch.save(first.state_dict(), tmp_path / 'state.pth')
    second.load_state_dict(torch.load(tmp_path / 'state.pth', weights_only=True))
    for counts in (first, second):
        counts.add(measures([1, 1], [0, 1]), places)
    for part in ('since_log', 'in_epoch'):
        for key, value in getattr(first, part).items():
            np.testing.assert_array_equal(getattr(second, part)[key], value)
    np.testing.assert_array_equal(second.samples, first.samples)
