import doctest
import itertools

import numpy as np
import pytest
import torch

from wsld_plugin.analysis.biased import BiasedLabelStatistics
from wsld_plugin.datasets.weak import draws
from wsld_plugin.datasets.weak.draws import candidate_sets, companions, measure, noisy_labels, shuffled

N, C = 40000, 5
LABELS = np.arange(N) % C
OWN = np.eye(C, dtype=bool)[LABELS]


def near(share, probability, n):
    """Within five standard deviations of a binomial share."""
    return abs(share - probability) <= 5 * np.sqrt(max(probability * (1 - probability), 1e-9) / n) + 1e-12


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize(('delta', 'gamma'), [(0.0, 0.3), (0.2, 0.7), (0.6, 0.1), (0.5, 0.0), (1.0, 0.0)])
def test_the_label_is_missing_with_unreliability_and_a_wrong_class_is_there_with_the_stated_ambiguity(
        delta, gamma, seed):
    sets = candidate_sets(LABELS, C, delta, gamma, seed)
    assert near(1 - sets[OWN].mean(), delta, N)
    stated = gamma + delta * (1 - gamma) ** (C - 1) / (C - 1)
    for own, wrong in itertools.permutations(range(C), 2):
        assert near(sets[own == LABELS, wrong].mean(), stated, N / C)


def test_candidates_of_a_set_are_drawn_independently():
    sets = candidate_sets(LABELS, C, 0.3, 0.5, 0)[LABELS == 0]
    kept = sets[sets[:, 0]]
    assert np.abs(np.corrcoef(kept[:, 1:].T) - np.eye(C - 1)).max() < 0.06
    # given that the label is missing, only the empty sets are exchanged: that of pair {1, 2} is p²(1 - p)² as drawn
    lost = sets[~sets[:, 0]]
    assert near((lost == [False, True, True, False, False]).all(1).mean(), 1 / 16, len(lost))


def test_no_set_is_empty_and_without_unreliability_or_ambiguity_it_is_the_label():
    assert np.array_equal(candidate_sets(LABELS, C, 0.0, 0.0, 0), OWN)
    assert candidate_sets(LABELS, C, 0.9, 0.01, 0).any(1).all()
    assert candidate_sets(LABELS, C, 0.0, 1.0, 0).all()
    assert not candidate_sets(LABELS, C, 1.0, 0.5, 0)[OWN].any()


DRAWS = [lambda labels, seed: candidate_sets(labels, C, 0.2, 0.4, seed),
         lambda labels, seed: noisy_labels(labels, C, 0.4, None, seed),
         lambda labels, seed: companions(labels, C, 2, seed)]


@pytest.mark.parametrize('draw', DRAWS)
def test_a_draw_depends_on_seed_place_and_label_alone(draw):
    labels = LABELS[:1000]
    whole = draw(labels, 3)
    assert np.array_equal(whole, draw(labels, 3))
    assert np.array_equal(whole[:100], draw(labels[:100], 3))
    other = np.where(np.arange(1000) == 500, (labels + 1) % C, labels)
    assert np.array_equal(np.delete(whole, 500, 0), np.delete(draw(other, 3), 500, 0))
    assert not np.array_equal(whole, draw(labels, 4))


@pytest.mark.parametrize('rate', [0.0, 0.4, 1.0])
def test_symmetric_noise_is_wrong_at_its_rate_and_uniform_over_the_other_classes(rate):
    noisy = noisy_labels(LABELS, C, rate, None, 0)
    for label in range(C):
        shares = np.bincount(noisy[label == LABELS], minlength=C) / (N // C)
        expected = [1 - rate if each == label else rate / (C - 1) for each in range(C)]
        assert all(map(near, shares, expected, [N / C] * C))


def test_pairs_exchange_their_classes_and_leave_the_others():
    noisy = noisy_labels(LABELS, C, 0.3, {0: 2, 2: 1}, 0)
    assert set(noisy[LABELS == 0]) == {0, 2}
    assert set(noisy[LABELS == 2]) == {2, 1}
    assert near((noisy[LABELS == 0] == 2).mean(), 0.3, N / C)
    assert np.array_equal(noisy[LABELS % 2 == 1], LABELS[LABELS % 2 == 1])
    assert set(noisy[LABELS == 4]) == {4}


@pytest.mark.parametrize('count', [1, 2, 4])
def test_companions_are_that_many_wrong_classes_each_as_often_as_the_others(count):
    sets = companions(LABELS, C, count, 0)
    assert (sets.sum(1) == count).all()
    assert not sets[OWN].any()
    for own, wrong in itertools.permutations(range(C), 2):
        assert near(sets[own == LABELS, wrong].mean(), count / (C - 1), N / C)


def test_every_beginning_of_the_order_holds_the_classes_in_equal_parts_and_the_order_all_samples():
    labels = np.array([0] * 30 + [1] * 20 + [2] * 25)
    order = shuffled(labels, 0)
    assert sorted(order) == list(range(75))
    for n in (3, 30, 60):
        assert np.array_equal(np.bincount(labels[order[:n]]), [n // 3] * 3)
    assert not np.array_equal(order, shuffled(labels, 1))


def test_measures_of_sets_are_counted_by_hand():
    sets, labels = candidate_sets(LABELS[:200], C, 0.3, 0.4, 0), LABELS[:200]
    members = [set(np.flatnonzero(row)) for row in sets]
    delta = np.mean([y not in s for s, y in zip(members, labels, strict=True)])
    gamma = max(np.mean([c in s for s, y in zip(members, labels, strict=True) if y != c]) for c in range(C))
    assert measure(sets, labels) == (pytest.approx(delta), pytest.approx(gamma))


def test_measures_of_equally_large_sets_are_those_of_logits_that_rank_them():
    labels = LABELS[:500]
    sets = companions(labels, C, 1, 0) | OWN[:500]
    statistics = BiasedLabelStatistics(C)
    statistics.update(torch.from_numpy(2.0 * sets + 0.1 * np.random.default_rng(0).random(sets.shape)),
                      torch.from_numpy(labels))
    result = statistics.result()
    assert measure(sets, labels) == (pytest.approx(result.unreliability[1]), pytest.approx(result.ambiguity[1]))


def test_docstring_examples_hold():
    result = doctest.testmod(draws)
    assert result.attempted >= 1
    assert result.failed == 0
