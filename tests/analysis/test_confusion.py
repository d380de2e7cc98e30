import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import confusion_matrix

from wsld_plugin.analysis.confusion import Confused, ConfusionStatistics, entropy_of


def random_samples(n=80, c=5):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, c, generator=generator), torch.randint(0, c, (n,), generator=generator)


def measured(logits, target):
    statistics = ConfusionStatistics(logits.shape[1])
    statistics.update(logits, target)
    return statistics


def test_top_classes_equal_scikit_learns_confusion_matrix():
    logits, target = random_samples()
    np.testing.assert_array_equal(measured(logits, target).top(), confusion_matrix(target, logits.argmax(1)))


def test_mean_soft_labels_equal_a_loop_over_classes():
    logits, target = random_samples()
    soft = measured(logits, target).soft()
    for label in range(5):
        np.testing.assert_allclose(soft[label], logits[target == label].double().softmax(1).mean(0), atol=1e-12)
    np.testing.assert_allclose(soft.sum(1), 1)


def test_the_most_confused_pair_comes_first_and_equals_go_by_probability():
    logits = torch.tensor([[0., 2, 1], [0, 2, 1], [3, 2, 0], [0, 5, 1], [1, 0, 2]])
    pairs = measured(logits, torch.tensor([0, 0, 0, 1, 2])).most_confused(3)
    assert pairs[0][:3] == (0, 1, 2.0)
    assert pairs[0].share == pytest.approx(2 / 3)
    assert pairs[0].probability == pytest.approx(float(logits[:3].softmax(1)[:, 1].mean()))
    assert [pair.mistakes for pair in pairs[1:]] == [0, 0]
    assert pairs[1].probability > pairs[2].probability
    assert isinstance(pairs[0], Confused)


def test_no_class_is_confused_with_itself_or_without_any_probability():
    certain = torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]])
    assert measured(certain, torch.tensor([0, 1])).most_confused(10) == []
    logits, target = random_samples()
    pairs = measured(logits, target).most_confused(100)
    assert len(pairs) == 20
    assert all(pair.label != pair.taken_for for pair in pairs)


def test_a_class_without_samples_has_no_mean_and_is_no_mistake():
    logits, target = random_samples()
    found = measured(logits[target != 3], target[target != 3])
    assert np.isnan(found.soft()[3]).all()
    assert all(pair.label != 3 for pair in found.most_confused(100))


def test_ties_on_top_count_in_equal_shares():
    assert measured(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([2])).top()[2].tolist() == [0.5, 0.5, 0]


def test_merged_parts_equal_the_whole():
    logits, target = random_samples()
    merged = measured(logits[:30], target[:30]).merge(measured(logits[30:], target[30:]))
    np.testing.assert_allclose(merged.soft(), measured(logits, target).soft())


def test_the_entropy_of_each_sample_is_scipys():
    logits, _ = random_samples()
    np.testing.assert_allclose(entropy_of(logits), entropy(logits.double().softmax(1).numpy(), axis=1))


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match='1 of 1 samples'):
        measured(torch.tensor([[float('nan'), 0.0]]), torch.tensor([0]))
