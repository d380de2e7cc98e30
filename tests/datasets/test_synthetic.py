import numpy as np
import pytest
from scipy.stats import multivariate_normal

from wsld_plugin.datasets import Mixture
from wsld_plugin.errors import ConfigError


def images(data):
    return np.stack([data.get_data_info(index)['img'] for index in range(len(data))])


def test_the_posterior_is_that_of_bayes_rule_for_each_image():
    priors = [.5, .3, .2]
    data = Mixture(num_samples=20, num_classes=3, priors=priors)
    joint = np.array([[prior * multivariate_normal(mean.ravel(), 64.0 ** 2).pdf(image.ravel()) * 1e150
                       for mean, prior in zip(data.means, priors, strict=True)] for image in images(data)])
    np.testing.assert_allclose(data.posteriors(), joint / joint.sum(axis=1, keepdims=True), rtol=1e-6, atol=1e-12)


def test_labels_follow_their_posteriors():
    data = Mixture(num_samples=4000, num_classes=4, separation=2.0, seed=1)
    posterior, labels = data.posteriors(), np.asarray(data.get_gt_labels())
    for low, high in ((0, .1), (.1, .3), (.3, .6), (.6, .9)):
        rows, classes = np.nonzero((posterior >= low) & (posterior < high))
        expected = posterior[rows, classes]
        right = labels[rows] == classes
        standard_error = (expected * (1 - expected)).sum() ** .5 / len(rows)
        assert abs(right.mean() - expected.mean()) < 4 * standard_error


def test_a_seed_and_a_split_draw_other_images_of_the_same_problem():
    draws = [Mixture(num_samples=30, seed=0), Mixture(num_samples=30, seed=1), Mixture(split='test', num_samples=30)]
    assert len({images(data).tobytes() for data in draws}) == 3
    assert len({data.means.tobytes() for data in draws}) == 1
    assert images(Mixture(num_samples=30)).tobytes() == images(draws[0]).tobytes()


def test_fewer_samples_are_the_first_of_more_and_splits_have_sizes_of_their_own():
    few, more = Mixture(num_samples=10), Mixture()
    np.testing.assert_array_equal(images(few), images(more)[:10])
    assert list(few.get_gt_labels()) == list(more.get_gt_labels())[:10]
    assert (len(more), len(Mixture(split='test'))) == (1200, 600)


def test_priors_are_the_frequencies_and_classes_have_names():
    data = Mixture(num_samples=4000, num_classes=2, priors=[.9, .1])
    assert np.mean(data.get_gt_labels()) == pytest.approx(.1, abs=.02)
    assert data.metainfo['classes'] == ('0', '1')


def test_classes_further_apart_are_easier():
    right = [(data.posteriors().argmax(axis=1) == data.get_gt_labels()).mean()
             for data in (Mixture(separation=separation) for separation in (2., 4., 8.))]
    assert right[0] < .6 < .8 < right[1] < .99 < right[2]


@pytest.mark.parametrize(('options', 'message'), [
    (dict(split='tets'), "split='tets'.*Did you mean 'test'"),
    (dict(num_classes=1), 'at least 2 classes'),
    (dict(num_samples=0), 'one sample'),
    (dict(separation=0.), 'separation above 0'),
    (dict(num_classes=2, priors=[.5, .4]), 'expected 2 numbers above 0 that sum to 1'),
    (dict(num_classes=2, priors=[1.]), 'expected 2 numbers'),
])
def test_what_cannot_be_meant_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Mixture(**options)
