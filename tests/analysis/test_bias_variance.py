import math
import tracemalloc

import numpy as np
import pytest
import torch
from gaussian_models import GaussianModels
from scipy.integrate import quad
from scipy.special import log_softmax, softmax
from scipy.stats import entropy as scipy_entropy
from scipy.stats import norm

from wsld_plugin.analysis import bias_variance
from wsld_plugin.analysis.bias_variance import decompose, entropy, interval, resample_models, resample_samples
from wsld_plugin.errors import ConfigError

RNG = np.random.default_rng(0)
LOGITS = 3 * RNG.standard_normal((6, 40, 5))
LOG_P = log_softmax(LOGITS, axis=-1)
LABELS = RNG.integers(5, size=40)
BROKEN = LOG_P.copy()
BROKEN[4, [1, 7], 0] = np.nan
BROKEN[5, 0] = -np.inf
POSTERIOR = softmax(RNG.standard_normal((40, 5)), axis=-1)


@pytest.mark.parametrize('target', [LABELS, POSTERIOR])
def test_error_bias_and_variance_equal_kl_divergences_and_the_correction_moves_one_amount_between_them(target):
    found = decompose(LOG_P, target)
    for n in range(40):
        q = POSTERIOR[n] if target.ndim == 2 else np.eye(5)[target[n]]
        models = np.exp(LOG_P[:, n])
        geometric = [math.prod(p[k] for p in models) ** (1 / 6) for k in range(5)]
        z = sum(geometric)
        mean = [value / z for value in geometric]
        assert found.error[n] == pytest.approx(np.mean([scipy_entropy(q, p) for p in models]), rel=1e-12)
        assert found.bias[n] == pytest.approx(scipy_entropy(q, mean), rel=1e-11)
        # three routes
        assert found.variance[n] == pytest.approx(-math.log(z), rel=1e-11)
        assert found.variance[n] == pytest.approx(np.mean([scipy_entropy(mean, p) for p in models]), rel=1e-11)
        assert found.variance[n] == pytest.approx(found.error[n] - found.bias[n], rel=1e-11)
    np.testing.assert_allclose(found.variance_corrected, found.variance * 6 / 5)
    np.testing.assert_allclose(found.bias_corrected + found.variance_corrected, found.error, rtol=1e-12)
    totals = found.totals()
    assert totals['bias'] + totals['variance'] == pytest.approx(totals['error'])
    assert totals['bias_found'] - totals['bias'] == pytest.approx(totals['variance_found'] / 5)


def test_logits_and_tensors_are_accepted_and_equal_models_have_no_variance_certain_ones_finite_errors():
    one, other = decompose(LOGITS + 7, LABELS), decompose(torch.tensor(LOG_P), torch.tensor(LABELS))
    np.testing.assert_allclose(one.variance, other.variance, rtol=1e-12)
    np.testing.assert_allclose(one.bias, other.bias, rtol=1e-10)
    found = decompose([LOG_P[0]] * 3, LABELS)
    np.testing.assert_allclose(found.variance, 0, atol=1e-14)
    assert (found.variance >= 0).all()
    np.testing.assert_allclose(found.bias, -LOG_P[0][np.arange(40), LABELS], rtol=1e-12)
    noise = RNG.standard_normal((2, 40, 5))
    found = decompose(np.log(POSTERIOR) + np.concatenate([noise, -noise]), POSTERIOR)  # models about the truth
    np.testing.assert_allclose(found.bias, 0, atol=1e-14)
    assert (found.variance > .01).all()
    certain = np.broadcast_to(1e4 * np.eye(3, 4)[:, None], (3, 2, 4))
    found = decompose(certain, np.array([0, 3]))
    assert np.isfinite([found.error, found.bias, found.variance]).all()
    np.testing.assert_allclose(found.error, found.bias + found.variance)


@pytest.mark.parametrize(('teachers', 'within', 'between'), [
    ([0, 0, 0, 1], .1, .3), (['a', 'b', 'c', 'a', 'b', 'c'], .2, .2), ([0, 1, 0, 1, 0], .3, 0.)])
def test_the_variance_contains_the_share_of_the_teachers_that_the_note_states(teachers, within, between):
    samples, rng = 4000, np.random.default_rng(5)
    models, place = len(teachers), np.unique(teachers, return_inverse=True)[1]
    noise = between * rng.standard_normal((models, samples, 5))[place]
    noise += within * rng.standard_normal((models, samples, 5))
    found = decompose(np.resize(LOGITS[0, :5], (samples, 5)) + noise, np.zeros(samples, dtype=int), teachers)
    total = GaussianModels(LOGITS[0, :5], (within ** 2 + between ** 2) ** .5).variance().mean()
    of_teachers = GaussianModels(LOGITS[0, :5], between).variance().mean()
    share = sum(1 for m in range(models) for n in range(models) if place[m] != place[n]) / models / (models - 1)
    assert f'contains {share:.0%} of the variance between teachers' in found.notes[-1]
    error = found.variance_corrected.std() / samples ** .5
    expected = total - (1 - share) * of_teachers
    assert abs(found.variance_corrected.mean() - expected) < 3.5 * error + .005 * total  # right to second order


def test_shared_teachers_and_a_single_class_are_noted_and_change_no_number():
    plain = decompose(LOG_P, LABELS)
    for teachers, note in (([0, 1, 0, 1, 0, 1], '6 models have 2 teachers: the variance contains 60% of the'),
                           ([0] * 6, 'All 6 models have one teacher: bias, variance and all intervals'),
                           (list('abcdef'), None)):
        found = decompose(LOG_P, LABELS, teachers)
        np.testing.assert_array_equal(found.variance, plain.variance)
        np.testing.assert_array_equal(found.bias, plain.bias)
        assert [each.startswith(note) for each in found.notes] == ([True] if note else [])
    with pytest.raises(ConfigError, match='teachers has 5 entries, expected one for each of the 6 models'):
        decompose(LOG_P, LABELS, [0, 1, 0, 1, 0])
    assert decompose(LOG_P, np.full(40, 3)).notes == ('All 40 samples are of class 3.', )


def test_more_models_take_no_more_memory(tmp_path):
    np.save(tmp_path / 'model.npy', RNG.standard_normal((2000, 50), np.float32))
    model, peaks = np.load(tmp_path / 'model.npy', mmap_mode='r'), []
    for count in (4, 16):
        tracemalloc.start()
        decompose([model] * count, np.zeros(2000, dtype=int))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]


def test_cross_entropy_with_labels_drawn_from_the_posterior_exceeds_the_error_against_it_by_the_entropy():
    np.testing.assert_allclose(entropy(POSTERIOR), [scipy_entropy(row) for row in POSTERIOR])
    rng = np.random.default_rng(3)
    labels = rng.choice(3, p=(q := [.7, .2, .1]), size=200_000)
    log_p = np.log([[.5, .3, .2], [.6, .2, .2]])
    of_labels = decompose([[row] * len(labels) for row in log_p], labels).error
    of_posterior = decompose(log_p[:, None], np.array([q]))
    standard_error = of_labels.std() / len(labels) ** .5
    assert abs(of_labels.mean() - entropy([q])[0] - of_posterior.error[0]) < 4 * standard_error


@pytest.mark.parametrize(('models', 'target', 'message'), [
    (LOG_P[:1], LABELS, '1 model given.*at least 2'),
    ([LOG_P[0], LOG_P[1][:30]], LABELS, r'model 1 .*\(30, 5\), model 0 of \(40, 5\)'),
    (BROKEN, LABELS, 'model 4 has infinite or NaN log-probabilities for 2 of 40 samples'),
    (LOG_P[:, :0], LABELS[:0], r'shape \(0, 5\)'), (LOG_P[:, 0], LABELS, r'shape \(5,\)'),
    (LOG_P, LABELS[:5], r'target of shape \(5,\)'), (LOG_P, LABELS + .5, 'as integers'),
    (LOG_P, LABELS + 3, 'expected 0 … 4'), (LOG_P, POSTERIOR * 1.1, 'no probabilities'),
])
def test_models_and_targets_that_do_not_fit_are_rejected(models, target, message):
    with pytest.raises(ConfigError, match=message):
        decompose(models, target)


MEAN = 2 * np.random.default_rng(0).standard_normal((60, 4))
TRUE = softmax(np.random.default_rng(1).standard_normal((60, 4)), axis=-1)
MODELS = GaussianModels(MEAN, .7).draw(6, seed=0)


def test_resampled_totals_lie_about_the_estimate_as_a_mean_does_and_differences_over_samples_are_paired():
    found = decompose(MODELS, TRUE)
    over_samples, totals = resample_samples(found, 4000), found.totals()
    for draws in (over_samples, resample_models(MODELS, TRUE, 2000)):
        np.testing.assert_allclose(draws['error'], draws['bias'] + draws['variance'])
        for quantity in bias_variance.QUANTITIES:
            # what repetitions take from the variance is known to second order only
            assert draws[quantity].mean() == pytest.approx(totals[quantity], rel=.02)
    assert over_samples['error'].std() == pytest.approx(found.error.std() / 60 ** .5, rel=.05)
    assert over_samples['variance'].std() == pytest.approx(found.variance_corrected.std() / 60 ** .5, rel=.05)
    other = decompose(MODELS, np.roll(TRUE, 1, axis=-1))  # same models: same variance
    assert np.ptp(over_samples['variance'] - resample_samples(other, 4000)['variance']) < 1e-12


def test_an_interval_over_samples_contains_the_truth_and_one_over_models_widens_as_they_become_fewer():
    population = np.random.default_rng(99).exponential(size=(150, 60))
    held = sum(low <= 1 <= high for low, high in (
        interval(resample_samples(bias_variance.Decomposition(2, error, error, 0 * error), 200)['error'])
        for error in population))
    assert .86 < held / 150 <= 1
    widths = [np.ptp(interval(resample_models(GaussianModels(MEAN, .7).draw(count, 0), TRUE, 300)['variance']))
              for count in (40, 5)]
    assert 1.5 < widths[1] / widths[0] < 6  # about √8


def test_a_resample_is_the_decomposition_of_these_models_in_blocks_of_any_size_without_sets_of_one_model(monkeypatch):
    draws = resample_models(MODELS, TRUE, 40, seed=3)
    counts = np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), size=40)
    for number, count in enumerate(counts):
        again = decompose(np.repeat(MODELS, count, axis=0), TRUE)
        left = 1 - ((count / 6) ** 2).sum()
        assert draws['error'][number] == pytest.approx(again.error.mean())
        assert draws['variance'][number] == pytest.approx(again.variance.mean() / left)
        assert draws['bias'][number] == pytest.approx(draws['error'][number] - draws['variance'][number])
    monkeypatch.setattr(bias_variance, '_BLOCK', 7 * 4)  # of seven samples
    for quantity, values in resample_models(MODELS, TRUE, 40, seed=3).items():
        np.testing.assert_allclose(values, draws[quantity], rtol=1e-10)
    draws = resample_models(MODELS[:2], TRUE, 100)
    kept = np.isfinite(draws['variance'])
    assert 30 < kept.sum() < 70
    for quantity in bias_variance.QUANTITIES:
        np.testing.assert_array_equal(np.isfinite(draws[quantity]), kept)
    assert np.ptp(draws['variance'][kept]) < 1e-12  # what remains is one of each
    assert interval(draws['variance']) == pytest.approx((draws['variance'][kept][0], ) * 2)


def test_the_variance_of_two_classes_is_an_integral_over_the_difference_of_their_logits():
    for gap, std in ((-3., .3), (1.5, 4.)):
        # E[log(1 + e^(gap + √2·std·x))] − log(1 + e^gap)
        expected, _ = quad(lambda x, a=gap, b=2 ** .5 * std: norm.pdf(x) * np.logaddexp(0, a + b * x), -12, 12)
        models = GaussianModels(np.array([[0., gap]]), std)
        assert models.variance()[0] == pytest.approx(expected - np.logaddexp(0, gap), abs=1e-7)


@pytest.mark.parametrize('count', [2, 5])
def test_the_corrected_estimate_is_unbiased_and_the_uncorrected_one_low_by_one_in_m(count):
    models, draws, posterior = GaussianModels(MEAN[:4], .5), 300, TRUE[:4]
    found = [decompose(models.draw(count, seed), posterior) for seed in range(draws)]
    truth = models.variance().mean()
    for values, expected, slack in (
            ([each.variance.mean() for each in found], models.variance(count).mean(), 0),
            ([each.variance.mean() for each in found], truth * (count - 1) / count, .01 * truth),
            # the correction is of second order: at this noise, less than 1 % remains
            ([each.variance_corrected.mean() for each in found], truth, .01 * truth),
            ([each.bias_corrected.mean() for each in found], models.bias(posterior).mean(), .01 * truth),
            ([each.error.mean() for each in found], truth + models.bias(posterior).mean(), 0)):
        assert abs(np.mean(values) - expected) < 4 * np.std(values) / draws ** .5 + slack
