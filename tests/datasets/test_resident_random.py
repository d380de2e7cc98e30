import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from wsld_plugin.datasets.resident_random import key_states, random_below, random_bits

RARE = 1e-3  # of the p-values, with fixed keys


def keys(n=20000, seed=0, epoch=0, first=0, repeat=0):
    return [(seed, epoch, index, repeat) for index in range(first, first + n)]


def mix(word):
    """Splitmix64's finaliser on Python's integers."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


def test_states_equal_those_of_unbounded_integers():
    some = [(0, 0, 0, 0), (1, 2, 3, 4), (2**31 - 1, 239, 49999, 0), (2**63 - 1, -1, -2**63, 7)]
    for key, state in zip(some, key_states(some), strict=True):
        expected = 0
        for word in key:
            expected = mix(((expected ^ word % 2**64) + 0x9E3779B97F4A7C15) % 2**64)
        assert int(state) == expected


def test_the_finaliser_gives_the_published_first_number_of_splitmix64():
    # seed 1234567 of the reference implementation
    assert int(key_states([(1234567,)])[0]) == 6457827717110365317


def test_numbers_are_the_same_on_every_machine():
    states = key_states(keys(4, seed=7, epoch=3))
    assert random_below(states, 'crop', 9).tolist() == [8, 7, 8, 5]


@pytest.mark.parametrize('limit', [1, 2, 9, 57, 2**31])
def test_numbers_stay_below_their_limit(limit):
    numbers = random_below(key_states(keys()), 'crop', limit)
    assert numbers.dtype == np.int64
    assert numbers.min() >= 0
    assert numbers.max() < limit
    if limit < 1000:
        assert len(np.unique(numbers)) == limit


@pytest.mark.parametrize('limit', [2, 9, 57])
@pytest.mark.parametrize('stream', [keys(), keys(seed=1, epoch=239), [(0, epoch, 5, 0) for epoch in range(20000)],
                                    [(seed, 0, 5, 0) for seed in range(20000)],
                                    [(0, 0, 5, repeat) for repeat in range(20000)]])
def test_numbers_are_uniform(stream, limit):
    counts = np.bincount(random_below(key_states(stream), 'crop', limit), minlength=limit)
    assert chisquare(counts).pvalue > RARE


def dependence(first, second):
    """The p-value of two variables of nine values being independent."""
    table = np.zeros((9, 9))
    np.add.at(table, (first, second), 1)
    return chi2_contingency(table).pvalue


@pytest.mark.parametrize('other', [dict(first=1), dict(first=64), dict(epoch=1), dict(epoch=150), dict(seed=1),
                                   dict(repeat=1)])
def test_neighbouring_keys_have_independent_numbers(other):
    here, there = (random_below(key_states(each), 'crop', 9) for each in (keys(), keys(**other)))
    assert dependence(here, there) > RARE


@pytest.mark.parametrize('purpose', ['left', 'crop.', '0.RandomCrop.top', 'flip'])
def test_purposes_have_independent_numbers(purpose):
    states = key_states(keys())
    assert dependence(random_below(states, 'crop', 9), random_below(states, purpose, 9)) > RARE


@pytest.mark.parametrize('word', range(4))
def test_each_bit_of_a_key_changes_half_of_the_random_bits(word):
    plain = np.array(keys(2000, seed=3, epoch=5))
    before = random_bits(key_states(plain), 'flip')
    for bit in (0, 1, 7, 31):
        flipped = plain.copy()
        flipped[:, word] ^= 1 << bit
        changed = before ^ random_bits(key_states(flipped), 'flip')
        ones = np.unpackbits(changed.view(np.uint8)).sum() / 2000  # of 32, with a standard deviation of .063
        assert abs(ones - 16) < 0.3


def test_a_number_does_not_depend_on_the_rest_of_the_batch():
    together = random_below(key_states(keys(64)), 'crop', 9)
    alone = [random_below(key_states([key]), 'crop', 9)[0] for key in keys(64)]
    assert together.tolist() == alone


def test_key_order_and_repeats_give_different_states():
    states = key_states([(a, b, c, d) for a in range(8) for b in range(8) for c in range(8) for d in range(8)])
    assert len(np.unique(states)) == 8**4
