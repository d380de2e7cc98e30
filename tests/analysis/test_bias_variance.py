import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import log_loss

from wsld_plugin.analysis.bias_variance import decompose, entropy, split_variance
from wsld_plugin.errors import ConfigError

RNG = np.random.default_rng(0)
LOGITS = 3 * RNG.standard_normal((6, 40, 5))
LOG_P = log_softmax(LOGITS, axis=-1)
LABELS = RNG.integers(5, size=40)
POSTERIOR = softmax(RNG.standard_normal((40, 5)), axis=-1)


def geometric_mean(probabilities):
    product = [math.prod(p[k] for p in probabilities) ** (1 / len(probabilities)) for k in range(5)]
    return [value / sum(product) for value in product], sum(product)


@pytest.mark.parametrize('target', [LABELS, POSTERIOR])
def test_error_bias_and_variance_equal_kl_divergences_computed_one_by_one(target):
    found = decompose(LOG_P, target)
    for n in range(40):
        q = POSTERIOR[n] if target.ndim == 2 else np.eye(5)[target[n]]
        models = np.exp(LOG_P[:, n])
        mean, z = geometric_mean(models)
        assert found.error[n] == pytest.approx(np.mean([scipy_entropy(q, p) for p in models]), rel=1e-12)
        assert found.bias[n] == pytest.approx(scipy_entropy(q, mean), rel=1e-11)
        # three routes
        assert found.variance[n] == pytest.approx(-math.log(z), rel=1e-11)
        assert found.variance[n] == pytest.approx(np.mean([scipy_entropy(mean, p) for p in models]), rel=1e-11)
        assert found.variance[n] == pytest.approx(found.error[n] - found.bias[n], rel=1e-11)
        np.testing.assert_allclose(np.exp(found.mean_model[n]), mean, rtol=1e-11)


def test_with_labels_the_error_is_the_mean_cross_entropy():
    expected = np.mean([log_loss(LABELS, np.exp(log_p), labels=range(5)) for log_p in LOG_P])
    assert decompose(LOG_P, LABELS).totals()['error'] == pytest.approx(expected, rel=1e-12)


def test_logits_do_as_well_as_log_probabilities_and_tensors_as_arrays():
    one, other = decompose(LOGITS + 7, LABELS), decompose(torch.tensor(LOG_P), torch.tensor(LABELS))
    np.testing.assert_allclose(one.variance, other.variance, rtol=1e-12)
    np.testing.assert_allclose(one.bias, other.bias, rtol=1e-10)


def test_equal_models_have_no_variance_and_their_own_error_as_bias():
    found = decompose([LOG_P[0]] * 3, LABELS)
    np.testing.assert_allclose(found.variance, 0, atol=1e-14)
    assert (found.variance >= 0).all()
    np.testing.assert_allclose(found.bias, -LOG_P[0][np.arange(40), LABELS], rtol=1e-12)


def test_models_about_the_truth_have_no_bias():
    noise = RNG.standard_normal((2, 40, 5))
    found = decompose(np.log(POSTERIOR) + np.concatenate([noise, -noise]), POSTERIOR)
    np.testing.assert_allclose(found.bias, 0, atol=1e-14)
    assert (found.variance > .01).all()


def test_two_classes_have_a_closed_form():
    logits = np.array([[[0., 2.]], [[0., -2.]]])  # p̄ is even; Z = 2·√(σ(2)σ(−2))
    found = decompose(logits, np.array([1]))
    assert found.variance[0] == pytest.approx(-math.log(2 * math.sqrt(1 / (1 + math.exp(-2)) / (1 + math.exp(2)))))
    assert found.bias[0] == pytest.approx(math.log(2))


def test_the_correction_moves_the_same_amount_from_bias_to_variance():
    found = decompose(LOG_P, LABELS)
    np.testing.assert_allclose(found.variance_corrected, found.variance * 6 / 5)
    np.testing.assert_allclose(found.bias_corrected + found.variance_corrected, found.error, rtol=1e-12)
    totals = found.totals()
    assert totals['bias'] + totals['variance'] == pytest.approx(totals['error'])
    assert totals['bias_found'] - totals['bias'] == pytest.approx(totals['variance_found'] / 5)


def test_certain_models_stay_finite():
    logits = np.zeros((3, 2, 4))
    logits[0, :, 0], logits[1, :, 1], logits[2, :, 2] = 1e4, 1e4, 1e4
    found = decompose(logits, np.array([0, 3]))
    assert np.isfinite([found.error, found.bias, found.variance]).all()
    np.testing.assert_allclose(found.error, found.bias + found.variance)


def test_variance_in_groups_is_that_within_and_that_between():
    rng = np.random.default_rng(1)
    groups = log_softmax(rng.standard_normal((3, 1, 40, 5)) + .5 * rng.standard_normal((3, 4, 40, 5)), axis=-1)
    within, between = split_variance(groups)
    plug_in = decompose(groups.reshape(12, 40, 5), LABELS).variance
    # undo both corrections: what remains is exact
    np.testing.assert_allclose(within * 3 / 4 + (between + within / 4) * 2 / 3, plug_in, rtol=1e-10)


def test_groups_that_do_not_differ_have_nothing_between_them():
    rng = np.random.default_rng(2)
    groups = .5 * rng.standard_normal((5, 4, 4000, 3))
    within, between = split_variance(groups)
    assert abs(between.mean()) < .02 * within.mean()
    _, between = split_variance(groups + .5 * rng.standard_normal((5, 1, 4000, 3)))
    assert between.mean() == pytest.approx(within.mean(), rel=.05)


def test_entropy_is_that_of_each_row():
    np.testing.assert_allclose(entropy(POSTERIOR), [scipy_entropy(row) for row in POSTERIOR])
    assert entropy(np.eye(3)).tolist() == [0, 0, 0]


def test_cross_entropy_with_labels_drawn_from_the_posterior_is_entropy_more_than_the_error_against_it():
    rng = np.random.default_rng(3)
    labels = rng.choice(3, p=(q := [.7, .2, .1]), size=200_000)
    log_p = np.log([[.5, .3, .2], [.6, .2, .2]])
    of_labels = decompose([[row] * len(labels) for row in log_p], labels).error
    of_posterior = decompose(log_p[:, None], np.array([q]))
    standard_error = of_labels.std() / len(labels) ** .5
    assert abs(of_labels.mean() - entropy([q])[0] - of_posterior.error[0]) < 4 * standard_error


def test_samples_of_one_class_are_told():
    assert decompose(LOG_P, np.full(40, 3)).notes == ('All 40 samples are of class 3.', )
    assert decompose(LOG_P, LABELS).notes == ()


def with_nan():
    broken = LOG_P.copy()
    broken[4, [1, 7], 0] = np.nan
    broken[5, 0] = -np.inf
    return broken


@pytest.mark.parametrize(('models', 'target', 'message'), [
    (LOG_P[:1], LABELS, '1 model given.*at least 2'),
    ([], LABELS, '0 model given'),
    ([LOG_P[0], LOG_P[1][:30]], LABELS, r'model 1 .*\(30, 5\), model 0 of \(40, 5\)'),
    (with_nan(), LABELS, 'model 4 has infinite or NaN log-probabilities for 2 of 40 samples'),
    (LOG_P[:, :0], LABELS[:0], r'shape \(0, 5\)'),
    (LOG_P[:, 0], LABELS, r'shape \(5,\)'),
    (LOG_P, LABELS[:5], r'target of shape \(5,\)'),
    (LOG_P, LABELS + .5, 'as integers'),
    (LOG_P, LABELS + 3, 'expected 0 … 4'),
    (LOG_P, POSTERIOR * 1.1, 'no probabilities'),
    (LOG_P, np.log(POSTERIOR), 'no probabilities'),
])
def test_what_cannot_be_decomposed_is_refused(models, target, message):
    with pytest.raises(ConfigError, match=message):
        decompose(models, target)
