import math
import tracemalloc

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import log_loss

from wsld_plugin.analysis.bias_variance import decompose, entropy
from wsld_plugin.analysis.synthetic import GaussianModels
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


def students(rng, teachers, within, between, samples=40, classes=5):
    """Log-probabilities of students of shared teachers, about the logits of LOGITS[0]."""
    teachers = np.asarray(teachers)
    of_teacher = between * rng.standard_normal((teachers.max() + 1, samples, classes))
    noise = within * rng.standard_normal((len(teachers), samples, classes))
    return log_softmax(np.resize(LOGITS[0], (samples, classes)) + of_teacher[teachers] + noise, axis=-1)


@pytest.mark.parametrize('teachers', [[0, 1, 0, 1, 0], [0, 1] * 3, [0, 0, 0, 1], [2, 0, 1, 1, 2, 2, 0]])
def test_variance_within_and_between_teachers_is_what_pairs_of_students_show(teachers):
    # two classes, close to even: V is the variance of the logit over 8
    logit = 1e-3 * np.random.default_rng(1).standard_normal(len(teachers))
    found = decompose(np.stack([logit, 0 * logit], axis=-1)[:, None], np.array([0]), teachers)
    pairs = [(m, n) for m in range(len(logit)) for n in range(m)]
    other = [(logit[m] - logit[n]) ** 2 / 2 for m, n in pairs if teachers[m] != teachers[n]]
    of_teacher = [logit[np.array(teachers) == teacher] for teacher in set(teachers)]
    pooled = sum(((of - of.mean()) ** 2).sum() for of in of_teacher) / (len(teachers) - len(of_teacher))
    assert 8 * found.within[0] == pytest.approx(pooled, rel=1e-5)
    assert 8 * (found.within + found.between)[0] == pytest.approx(np.mean(other), rel=1e-5)


def test_with_equal_groups_the_parts_are_those_of_a_one_way_analysis_of_variance():
    logit = 1e-3 * np.random.default_rng(1).standard_normal((3, 4))  # teachers, students of each
    rows = np.stack([logit.ravel(), np.zeros(12)], axis=-1)[:, None]
    found = decompose(rows, np.array([0]), np.repeat([0, 1, 2], 4))
    within = logit.var(axis=1, ddof=1).mean()
    assert 8 * found.within[0] == pytest.approx(within, rel=1e-5)
    assert 8 * found.between[0] == pytest.approx(logit.mean(axis=1).var(ddof=1) - within / 4, rel=1e-5)


@pytest.mark.parametrize('teachers', [[0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1], [0, 0, 0, 1], [0, 1, 2, 0, 1, 2]])
@pytest.mark.parametrize(('within', 'between'), [(.2, .2), (.1, .3), (.3, 0.)])
def test_known_variance_within_and_between_teachers_is_found_without_bias(teachers, within, between):
    samples = 8000
    logits = students(np.random.default_rng(5), teachers, within, between, samples)
    found = decompose(logits, np.zeros(samples, dtype=int), teachers)
    truth = GaussianModels(LOGITS[0], (within ** 2 + between ** 2) ** .5).variance().mean()
    of_teachers = GaussianModels(LOGITS[0], between).variance().mean() if between else 0.
    counts, models = np.unique(teachers, return_counts=True)[1], len(teachers)
    share = sum(1 for m in range(models) for n in range(models) if teachers[m] != teachers[n]) / models / (models - 1)
    assert f'holds {share:.0%} of what differs between teachers' in found.notes[-1]
    assert share == pytest.approx((1 - ((counts / models) ** 2).sum()) * models / (models - 1))
    for estimate, expected in ((found.within + found.between, truth), (found.within, truth - of_teachers),
                               (found.between, of_teachers),
                               (found.variance_corrected, truth - (1 - share) * of_teachers)):
        error = estimate.std() / samples ** .5
        assert error < .03 * truth
        assert abs(estimate.mean() - expected) < 3.5 * error + .005 * truth  # right to second order
    assert found.totals()['bias'] + found.totals()['variance'] == pytest.approx(found.totals()['error'], rel=1e-12)


def test_shared_teachers_are_told_and_change_nothing_else():
    teachers = [0, 1, 0, 1, 0, 1]
    plain, split = decompose(LOG_P, LABELS), decompose(LOG_P, LABELS, teachers)
    for part in ('error', 'bias', 'variance', 'mean_model', 'variance_corrected', 'bias_corrected'):
        np.testing.assert_allclose(getattr(split, part), getattr(plain, part), rtol=1e-12)
    assert (plain.within, plain.notes) == (None, ())
    assert (split.between < 0).any()  # independent models: nothing is between them
    assert split.notes[0].startswith('6 models have 2 teachers: the variance holds 60% of what differs')


def test_teachers_of_their_own_are_as_none():
    own = decompose(LOG_P, LABELS, ['a', 'b', 'c', 'd', 'e', 'f'])
    np.testing.assert_allclose(own.variance_corrected, decompose(LOG_P, LABELS).variance_corrected, rtol=1e-12)
    assert (own.within, own.between, own.notes) == (None, None, ())


def test_one_teacher_for_all_is_told_and_its_own_part_is_in_the_bias():
    rng = np.random.default_rng(6)
    logits = students(rng, [0] * 5, .3, .3, 4000)
    found = decompose(logits, softmax(np.resize(LOGITS[0], (4000, 5)), axis=-1), [0] * 5)
    within = (GaussianModels(LOGITS[0], .3 * 2 ** .5).variance() - GaussianModels(LOGITS[0], .3).variance()).mean()
    assert found.variance_corrected.mean() == pytest.approx(within, rel=.03)
    assert found.bias_corrected.mean() == pytest.approx(within, rel=.1)
    assert found.within is None
    note, = found.notes
    assert note.startswith('All 5 models have one teacher: bias, variance and the intervals, over the models too, ')
    assert note.endswith('What another teacher would change counts as bias.')


def test_more_models_take_no_more_memory(tmp_path):
    np.save(tmp_path / 'model.npy', RNG.standard_normal((2000, 50), np.float32))
    model, peaks = np.load(tmp_path / 'model.npy', mmap_mode='r'), []
    for count in (4, 16):
        tracemalloc.start()
        decompose([model] * count, np.zeros(2000, dtype=int), [0, 1] * (count // 2))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]


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


def test_teachers_of_other_models_are_refused():
    with pytest.raises(ConfigError, match='teachers names those of 5 models, but 6 models are given'):
        decompose(LOG_P, LABELS, [0, 1, 0, 1, 0])
