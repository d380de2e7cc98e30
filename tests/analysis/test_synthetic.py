import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import log_softmax, softmax
from scipy.stats import norm

from wsld_plugin.analysis.bias_variance import decompose
from wsld_plugin.analysis.synthetic import GaussianModels

RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.standard_normal((4, 5))
POSTERIOR = softmax(RNG.standard_normal((4, 5)), axis=-1)


@pytest.mark.parametrize('std', [.3, 1., 4.])
def test_the_variance_of_two_classes_is_an_integral_over_the_difference_of_their_logits(std):
    for gap in (-3., 0., 1.5):
        # E[log(1 + e^(gap + √2·std·x))] − log(1 + e^gap)
        expected, _ = quad(lambda x, gap=gap: norm.pdf(x) * np.logaddexp(0, gap + 2 ** .5 * std * x), -12, 12)
        models = GaussianModels(np.array([[0., gap]]), std)
        assert models.variance()[0] == pytest.approx(expected - np.logaddexp(0, gap), abs=1e-7)


@pytest.mark.parametrize('std', [.5, 2.])
def test_variance_and_mean_model_are_those_of_many_models(std):
    models = GaussianModels(LOGITS, std)
    draws = models.draw(20_000, seed=1)
    ten_times = draws.reshape(2_000, -1, LOGITS.shape[1])  # each sample by 2,000 models, ten times
    found = np.exp(decompose(ten_times, np.tile(POSTERIOR, (10, 1))).mean_model)
    np.testing.assert_allclose(found.reshape(10, *LOGITS.shape).mean(axis=0), softmax(LOGITS, axis=-1),
                               atol=.02 * std)
    divergence = (softmax(LOGITS, axis=-1) * (log_softmax(LOGITS, axis=-1) - draws)).sum(axis=-1)
    standard_error = divergence.std(axis=0) / 20_000 ** .5
    assert (abs(divergence.mean(axis=0) - models.variance()) < 4 * standard_error).all()


@pytest.mark.parametrize('count', [2, 3, 5, 10])
def test_the_corrected_estimate_is_unbiased_and_the_uncorrected_one_low_by_one_in_m(count):
    models = GaussianModels(LOGITS, .5)
    draws = 300
    found = [decompose(models.draw(count, seed), POSTERIOR) for seed in range(draws)]
    truth = models.variance().mean()
    for values, expected, slack in (
            ([each.variance.mean() for each in found], models.variance_found(count).mean(), 0),
            ([each.variance.mean() for each in found], truth * (count - 1) / count, .01 * truth),
            # the correction is of second order: at this noise, less than 1 % remains
            ([each.variance_corrected.mean() for each in found], truth, .01 * truth),
            ([each.bias_corrected.mean() for each in found], models.bias(POSTERIOR).mean(), .01 * truth),
            ([each.error.mean() for each in found], truth + models.bias(POSTERIOR).mean(), 0)):
        assert abs(np.mean(values) - expected) < 4 * np.std(values) / draws ** .5 + slack


def test_where_models_differ_wildly_the_correction_leaves_a_few_percent():
    truth = (wild := GaussianModels(LOGITS, 2.)).variance().mean()
    corrected = [wild.variance_found(count).mean() * count / (count - 1) / truth for count in (2, 3, 5, 10)]
    assert .9 < corrected[0] < corrected[1] < corrected[2] < corrected[3] < 1
    assert corrected[2] > .95
