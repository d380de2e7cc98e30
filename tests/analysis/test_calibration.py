import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, brier_score_loss, confusion_matrix, log_loss

from wsld_plugin.analysis.calibration import TEMPERATURES, CalibrationStatistics, best_temperature
from wsld_plugin.errors import ConfigError


def random_samples(n=200, c=5):
    generator = torch.Generator().manual_seed(0)
    logits = 2.0 * torch.randn(n, c, generator=generator)
    drawn = torch.multinomial((logits / 2).softmax(1), 1, generator=generator)[:, 0]  # right at temperature 2
    return logits, drawn


def measured(logits, target):
    statistics = CalibrationStatistics(logits.shape[1])
    statistics.update(logits, target)
    return statistics.result()


def test_scores_and_confusion_equal_scikit_learns_and_are_known_for_extreme_and_uniform_logits():
    logits, target = random_samples()
    found, probs = measured(logits, target), softmax(logits.double().numpy(), axis=1)
    assert found.accuracy == pytest.approx(accuracy_score(target, probs.argmax(1)))
    assert found.nll == pytest.approx(log_loss(target, probs, labels=range(5)), rel=1e-9)
    halves = [brier_score_loss((target == k).int(), probs[:, k]) for k in range(5)]
    assert found.brier == pytest.approx(sum(halves), rel=1e-9)
    assert found.entropy == pytest.approx(float(-(probs * np.log(probs)).sum(1).mean()), rel=1e-9)
    confidence, right = probs.max(1), probs.argmax(1) == target.numpy()
    bins = [(b / 15 < confidence) & (confidence <= (b + 1) / 15) for b in range(15)]
    gaps = [abs(right[rows].sum() - confidence[rows].sum()) for rows in bins]
    assert found.ece == pytest.approx(sum(gaps) / 200, abs=1e-12)
    on_a_boundary = measured(torch.zeros(3, 5), torch.tensor([0, 1, 1]))  # 3/15
    assert on_a_boundary.bins[:4, 0].tolist() == [0, 0, 3, 0]
    np.testing.assert_array_equal(found.top, confusion_matrix(target, logits.argmax(1)))
    assert measured(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([2])).top[2].tolist() == [0.5, 0.5, 0]
    for label in range(5):
        np.testing.assert_allclose(found.soft[label], probs[target == label].mean(0), atol=1e-12)
    found = measured(torch.tensor([[1e4, 0.0], [0.0, 1e4]]), torch.tensor([0, 0]))
    assert (found.nll, found.brier, found.entropy) == pytest.approx((5000, 1, 0), abs=0)
    assert measured(torch.tensor([[0.0, -torch.inf]]), torch.tensor([1])).nll == math.inf
    found = measured(torch.zeros(8, 4), torch.arange(8) % 4)
    assert (found.accuracy, found.ece, found.entropy_counts[-1]) == (0.25, 0, 8)
    assert (found.nll, found.entropy, found.brier) == pytest.approx((math.log(4), math.log(4), 0.75))


def test_labels_drawn_from_soft_labels_are_calibrated_and_the_best_temperature_is_theirs_or_an_end():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40_000, 4, generator=generator)
    drawn = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert measured(logits, drawn).ece < 0.012
    assert measured(3 * logits, drawn).ece > 0.2
    assert best_temperature(logits, drawn)[0] == pytest.approx(1, abs=0.03)
    assert best_temperature(3 * logits, drawn)[0] == pytest.approx(3, abs=0.09)
    logits, target = random_samples()
    tau, nll = best_temperature(logits, target)
    beta = torch.tensor(1 / tau, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(logits.double() * beta, target)
    loss.backward()
    assert abs(float(beta.grad)) < 1e-5
    assert nll == pytest.approx(loss.item(), rel=1e-9)
    grid = np.geomspace(*TEMPERATURES, 400)
    rows = logits.double().numpy()
    assert nll <= min(-log_softmax(rows / t, axis=1)[range(200), target].mean() for t in grid) + 1e-12
    for wrong, end in enumerate(TEMPERATURES):
        assert best_temperature(torch.eye(4), (torch.arange(4) + wrong) % 4)[0] == pytest.approx(end)


def test_batches_add_up_and_by_class_are_the_scores_of_that_class_alone():
    logits, target = random_samples()
    found, statistics = measured(logits, target), CalibrationStatistics(5)
    for part in (slice(70), slice(70, None)):
        statistics.update(logits[part], target[part])
    parts = statistics.result()
    assert (parts.nll, parts.ece, parts.brier) == pytest.approx((found.nll, found.ece, found.brier))
    np.testing.assert_allclose(parts.soft, found.soft)
    for label in range(5):
        alone = measured(logits[target == label], target[target == label])
        assert found.by_class[label, :4] == pytest.approx(
            [alone.num_samples, alone.accuracy, alone.nll, alone.entropy])


def test_samples_that_cannot_be_measured_are_rejected():
    with pytest.raises(ConfigError, match='num_classes=1'):
        CalibrationStatistics(1)
    with pytest.raises(ValueError, match='no samples'):
        CalibrationStatistics(5).result()
    broken, target = random_samples()
    broken[[1, 4]] = float('nan')
    indices, shape = torch.zeros(2, dtype=torch.long), r'\(N, 5\) with at least one'
    for logits, given, error, message in (
            (broken, target, ValueError, r'2 of 200 samples .* at 1, 4 of the batch'),
            (torch.zeros(0, 5), indices[:0], ValueError, shape), (torch.zeros(2, 4), indices, ValueError, shape),
            (torch.zeros(5), indices, ValueError, shape),
            (torch.zeros(2, 5).long(), indices, TypeError, 'floating point'),
            (torch.zeros(2, 5), torch.full((2, 5), 0.2), ValueError, 'one right class')):
        with pytest.raises(error, match=message):
            CalibrationStatistics(5).update(logits, given)
    with pytest.raises(ValueError, match=r'2 of 200 samples .* at 1, 4 of the batch'):
        best_temperature(broken, target)
    with pytest.raises(ValueError, match='logit -inf'):
        best_temperature(torch.tensor([[0.0, -torch.inf]]), torch.tensor([1]))


def test_the_most_confused_pair_comes_first_and_equals_are_ordered_by_probability():
    logits = torch.tensor([[0., 2, 1], [0, 2, 1], [3, 2, 0], [0, 5, 1], [1, 0, 2]])
    pairs = measured(logits, torch.tensor([0, 0, 0, 1, 2])).most_confused(3)
    assert pairs[0][:3] == (0, 1, 2.0)
    assert pairs[0].share == pytest.approx(2 / 3)
    assert pairs[0].probability == pytest.approx(float(logits[:3].softmax(1)[:, 1].mean()))
    assert [pair.mistakes for pair in pairs[1:]] == [0, 0]
    assert pairs[1].probability > pairs[2].probability
    # no class with itself, without any probability or without samples
    certain = torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]])
    assert measured(certain, torch.tensor([0, 1])).most_confused(10) == []
    logits, target = random_samples(n=80)
    found = measured(logits[target != 3], target[target != 3])
    assert np.isnan([*found.soft[3], *found.by_class[3, 1:]]).all()
    pairs = found.most_confused(100)
    assert len(pairs) == 16
    assert all(pair.label not in (3, pair.taken_for) for pair in pairs)
