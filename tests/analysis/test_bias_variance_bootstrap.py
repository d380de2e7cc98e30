import tracemalloc

import numpy as np
import pytest
from scipy.special import softmax

from wsld_plugin.analysis import bias_variance_bootstrap
from wsld_plugin.analysis.bias_variance import Decomposition, decompose
from wsld_plugin.analysis.bias_variance_bootstrap import QUANTITIES, interval, resample_models, resample_samples
from wsld_plugin.analysis.bias_variance_input import blocks
from wsld_plugin.analysis.synthetic import GaussianModels

RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.standard_normal((60, 4))
POSTERIOR = softmax(RNG.standard_normal((60, 4)), axis=-1)
MODELS = GaussianModels(LOGITS, .7).draw(6, seed=0)


def test_resampled_totals_lie_about_the_estimate_and_add_up():
    totals = decompose(MODELS, POSTERIOR).totals()
    for draws in (resample_samples(decompose(MODELS, POSTERIOR), 2000), resample_models(MODELS, POSTERIOR, 2000)):
        np.testing.assert_allclose(draws['error'], draws['bias'] + draws['variance'])
        for quantity in QUANTITIES:
            # what repetitions take from the variance is known to second order only
            assert draws[quantity].mean() == pytest.approx(totals[quantity], rel=.02)


def test_the_spread_over_samples_is_the_standard_error_of_a_mean():
    found = decompose(MODELS, POSTERIOR)
    draws = resample_samples(found, 4000)
    for quantity, values in (('error', found.error), ('variance', found.variance_corrected)):
        assert draws[quantity].std() == pytest.approx(values.std() / 60 ** .5, rel=.05)


def test_a_resample_of_models_is_the_decomposition_of_these_models():
    draws = resample_models(MODELS, POSTERIOR, 20, seed=3)
    counts = np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), size=20)
    for number, count in enumerate(counts):
        again = decompose(np.repeat(MODELS, count, axis=0), POSTERIOR)
        assert draws['error'][number] == pytest.approx(again.error.mean())
        assert draws['variance'][number] == pytest.approx(again.variance.mean() / (1 - ((count / 6) ** 2).sum()))


def test_equal_seeds_draw_alike_so_that_a_constant_difference_has_no_spread():
    found = decompose(MODELS, POSTERIOR)
    np.testing.assert_array_equal(resample_samples(found)['error'], resample_samples(found)['error'])
    doubled = decompose(MODELS, np.roll(POSTERIOR, 1, axis=-1))  # same models: same variance
    assert np.ptp(resample_samples(found)['variance'] - resample_samples(doubled)['variance']) < 1e-12


def test_an_interval_over_samples_holds_the_truth_as_often_as_it_says():
    population = np.random.default_rng(99).exponential(size=(150, 60))
    held = sum(low <= 1 <= high for low, high in (
        interval(resample_samples(Decomposition(2, error, error, 0 * error, error), 200)['error'])
        for error in population))
    assert .86 < held / 150 <= 1


def test_an_interval_over_models_widens_as_models_become_fewer():
    widths = [np.ptp(interval(resample_models(GaussianModels(LOGITS, .7).draw(count, 0), POSTERIOR, 300)['variance']))
              for count in (40, 5)]
    assert 1.5 < widths[1] / widths[0] < 6  # about √8


def test_sets_of_one_single_model_are_left_out():
    draws = resample_models(MODELS[:2], POSTERIOR, 100)
    kept = np.isfinite(draws['variance'])
    assert 30 < kept.sum() < 70
    for quantity in QUANTITIES:
        np.testing.assert_array_equal(np.isfinite(draws[quantity]), kept)
    assert np.ptp(draws['variance'][kept]) < 1e-12  # what remains is one of each
    assert interval(draws['variance']) == pytest.approx((draws['variance'][kept][0], ) * 2)


def test_a_resample_is_the_decomposition_of_these_models():
    draws = resample_models(MODELS, POSTERIOR, 40, seed=3)
    counts = np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), size=40)
    for number, count in enumerate(counts):
        again = decompose(np.repeat(MODELS, count, axis=0), POSTERIOR)
        left = 1 - ((count / 6) ** 2).sum()
        assert draws['error'][number] == pytest.approx(again.error.mean())
        assert draws['variance'][number] == pytest.approx(again.variance.mean() / left)
        assert draws['bias'][number] == pytest.approx(draws['error'][number] - draws['variance'][number])


def test_draws_are_the_same_in_blocks_of_any_size_and_need_little_memory():
    samples = 40_000
    error = np.random.default_rng(0).exponential(size=samples)
    found = Decomposition(2, error, error, 0 * error, error)
    tracemalloc.start()
    draws = resample_samples(found, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32e6  # all weights at once: 64e6
    counts = np.random.default_rng(0).multinomial(samples, np.full(samples, 1 / samples), size=100)
    np.testing.assert_allclose(draws['error'], counts @ error / samples, rtol=1e-12)


def test_many_samples_are_resampled_over_models_in_blocks(monkeypatch):
    whole = resample_models(MODELS, POSTERIOR, 50)
    monkeypatch.setattr(bias_variance_bootstrap, 'blocks', lambda length, row: blocks(length, row, 7 * row))
    for quantity, draws in resample_models(MODELS, POSTERIOR, 50).items():
        np.testing.assert_allclose(draws, whole[quantity], rtol=1e-10)


def test_the_interval_is_the_central_part():
    assert interval(np.arange(1001)) == pytest.approx((25, 975))
    assert interval(np.arange(1001), level=.5) == pytest.approx((250, 750))
