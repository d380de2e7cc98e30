import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import distributed

from wsld_plugin.analysis.biased import BiasedLabelStatistics, learnability_margin, poisson_weights
from wsld_plugin.errors import ConfigError


def random_samples(n=60, c=6, ties=False):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, c, generator=generator)
    return logits.round() if ties else logits, torch.randint(0, c, (n,), generator=generator)


def measured(logits, target, keys=None, **settings):
    statistics = BiasedLabelStatistics(logits.shape[1], **settings)
    statistics.update(logits, target, keys)
    return statistics.result()


def membership(row, k):
    """Pr(c ∈ Ω_k) for every c: over all orders of the classes, those of equals being equally likely."""
    orders = [order for order in itertools.permutations(range(len(row)))
              if all(row[a] >= row[b] for a, b in itertools.pairwise(order))]
    return [Fraction(sum(c in order[:k] for order in orders), len(orders)) for c in range(len(row))]


@pytest.mark.parametrize('ties', [False, True])
def test_every_k_and_its_companion_equal_counting_over_sets(ties):
    logits, target = random_samples(n=25, c=5, ties=ties)
    found = measured(logits, target, bootstrap=3, keys=range(25))
    labels = target.numpy()
    for k in range(1, 6):
        inside = np.array([membership(row, k) for row in logits.tolist()], dtype=float)
        ambiguity = [inside[labels != wrong, wrong].mean() for wrong in range(5)]
        assert found.unreliability[k - 1] == pytest.approx(1 - inside[range(25), labels].mean(), abs=1e-12)
        assert found.ambiguity[k - 1] == pytest.approx(max(ambiguity), abs=1e-12)
        assert ties or k == 5 or found.ambiguous_class[k - 1] == np.argmax(ambiguity)
        shares = np.stack([inside[labels == label].mean(0) for label in range(5)])
        np.fill_diagonal(shares, -1)
        label, wrong, share = found.companions[k - 1]
        assert share == pytest.approx(shares.max(), abs=1e-12)
        assert shares[label, wrong] == pytest.approx(share, abs=1e-12)
    np.testing.assert_allclose(measured(logits, target, max_k=2).ambiguity, found.ambiguity[:2])


def test_the_margin_is_above_zero_below_the_edge_and_best_for_a_k_that_only_a_uniform_teacher_has_not():
    target = torch.arange(80) % 10
    right = torch.nn.functional.one_hot(target, 10).double()
    found = measured(right, target)
    assert (found.unreliability[0], found.ambiguity[0], found.best_k) == (0, 0, 1)
    assert found.margin[0] == pytest.approx(math.log(2))
    # the nine wrong classes are tied
    np.testing.assert_allclose(found.ambiguity, np.arange(10) / 9, atol=1e-12)
    wrong = torch.nn.functional.one_hot((target + 1 + torch.arange(80) // 10) % 10, 10)
    found = measured(right + 2 * wrong, target)
    assert found.unreliability[:2].tolist() == [1, 0]
    assert (found.best_k, found.margin[0]) == (2, -np.inf)
    found = measured(torch.zeros(80, 10), target)  # on the edge for every k
    np.testing.assert_allclose(found.unreliability, 1 - np.arange(1, 11) / 10, atol=1e-12)
    np.testing.assert_allclose(found.ambiguity, np.arange(1, 11) / 10, atol=1e-12)
    np.testing.assert_allclose(found.margin, 0, atol=1e-12)
    assert found.best_k is None
    unreliability, ambiguity = np.indices((41, 41)).reshape(2, -1) / 40
    margin = learnability_margin(unreliability, ambiguity)
    clear = np.abs(unreliability + ambiguity - 1) > 1e-9
    assert ((margin > 0) == (unreliability + ambiguity < 1))[clear].all()
    inside = unreliability < 1
    direct = np.log(2 * (1 - unreliability[inside]) / (1 - unreliability[inside] + ambiguity[inside]))
    np.testing.assert_allclose(margin[inside], direct, atol=1e-12)


def test_by_class_equals_the_measure_of_that_class_alone_and_one_without_samples_has_none_and_no_companion():
    logits, target = random_samples()
    found = measured(logits, target)
    for label in range(6):
        chosen = target == label
        places = logits[chosen].argsort(1, descending=True).eq(label).nonzero()[:, 1].numpy()
        alone = (places[:, None] >= np.arange(1, 7)).mean(0)
        np.testing.assert_allclose(found.unreliability_by_class[label], alone, atol=1e-12)
    missing = measured(logits[target < 2], target[target < 2])
    assert np.isnan(missing.unreliability_by_class[2:]).all()
    assert all(pair.label < 2 and 0 <= pair.share <= 1 for pair in missing.companions)
    assert measured(torch.randn(4, 101), torch.arange(4), max_k=2).companions == []  # of many classes none is kept


def test_an_increasing_map_and_a_permutation_of_classes_change_nothing_but_half_precision_makes_ties():
    logits, target = random_samples()
    found = measured(logits, target)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    inverse = order.argsort()
    for other in (measured(logits / 4, target), measured(logits.log_softmax(1).double(), target),
                  measured(logits[:, order], inverse[target])):
        np.testing.assert_allclose(other.ambiguity, found.ambiguity, atol=1e-12)
        np.testing.assert_allclose(other.unreliability, found.unreliability, atol=1e-12)
    logits, target = torch.tensor([[1.0001, 1.0, 0.0]]).repeat(2, 1), torch.tensor([1, 2])
    assert measured(logits, target).unreliability_by_class[1, 0] == 1
    assert measured(logits.bfloat16(), target).unreliability_by_class[1, 0] == 0.5


def test_a_replicate_counts_each_sample_as_often_as_its_poisson_weight():
    logits, target = random_samples()
    weights = poisson_weights(range(60), 9)
    statistics = BiasedLabelStatistics(6, bootstrap=9)
    statistics.update(logits, target, range(60))
    twin = BiasedLabelStatistics(6)
    again = torch.from_numpy(weights[:, 4]).long()
    twin.update(logits.repeat_interleave(again, 0), target.repeat_interleave(again))
    for name in ('right', 'wrong', 'count'):
        torch.testing.assert_close(statistics.sums[name][..., 5], twin.sums[name][..., 0])
    weights = poisson_weights(range(400), 100)
    assert (weights.mean(), weights.var()) == (pytest.approx(1, abs=0.02), pytest.approx(1, abs=0.03))
    assert (weights == 0).mean() == pytest.approx(math.exp(-1), abs=0.01)
    assert (weights[8] != weights[7]).any()


def test_the_interval_of_the_unreliability_is_that_of_a_share_that_of_the_ambiguity_corrects_for_the_maximum():
    n, p = 2000, 0.3
    target = torch.arange(n) % 2
    wrong = torch.rand(n, generator=torch.Generator().manual_seed(0)) < p
    logits = torch.nn.functional.one_hot(torch.where(wrong, 1 - target, target), 2).float()
    found = measured(logits, target, keys=range(n), bootstrap=400)
    low, high = found.intervals['unreliability'][:, 0]
    expected = 1.96 * math.sqrt(p * (1 - p) / n)
    assert low < found.unreliability[0] < high
    assert (high - low) / 2 == pytest.approx(expected, rel=0.2)
    c = 40
    logits = torch.randn(n, c, generator=torch.Generator().manual_seed(0))
    found = measured(logits, torch.arange(n) % c, keys=range(n), bootstrap=50)
    truth = np.arange(1, c + 1) / c
    off = (found.ambiguity - truth)[:20]
    off_middle = (found.intervals['ambiguity'].mean(0) - truth)[:20]
    assert (off > 0).all()  # the largest of forty equal shares
    assert (abs(off_middle) < off).all()
    assert ((found.intervals['margin'] <= math.log(2)) & (found.intervals['ambiguity'] >= 0)).all()
    target = torch.arange(20) % 2
    never = measured(torch.nn.functional.one_hot(1 - target, 2).double(), target, keys=range(20), bootstrap=10)
    assert never.intervals['margin'][:, 0].tolist() == [-np.inf, -np.inf]
    assert never.intervals['ambiguity'][:, 0].tolist() == [1, 1]


def reduce_half(rank, folder, samples):
    """Every other sample on each rank, in batches."""
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    statistics = BiasedLabelStatistics(6, bootstrap=5)
    for start in (rank, 30 + rank):
        part = slice(start, start + 30, 2)
        statistics.update(*(each[part] for each in samples), range(60)[part])
    torch.save(statistics.reduce().sums, folder / f'{rank}.pt')
    distributed.destroy_process_group()


def test_the_reduced_sums_of_batches_in_two_processes_are_those_of_one(tmp_path):
    samples = random_samples(ties=True)
    torch.multiprocessing.start_processes(reduce_half, (tmp_path, samples), nprocs=2, start_method='fork')
    whole = BiasedLabelStatistics(6, bootstrap=5)
    whole.update(*samples, range(60))
    for rank in range(2):
        found = torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        for name, value in whole.sums.items():
            torch.testing.assert_close(found[name], value)


def test_settings_and_samples_that_do_not_fit_are_rejected():
    for settings, message in ((dict(max_k=7), 'max_k=7, expected an integer from 1'), (dict(bootstrap=-1), '=-1')):
        with pytest.raises(ConfigError, match=message):
            BiasedLabelStatistics(6, **settings)
    statistics = BiasedLabelStatistics(6, bootstrap=2)
    with pytest.raises(ValueError, match='there are no samples'):
        statistics.result()
    logits, target = random_samples()
    broken = logits.clone()
    broken[3, 2], broken[9] = float('nan'), float('-inf')
    for given, keys, message in (
            (logits, None, 'a key for each of the 60 samples'), (logits, range(59), 'each of the 60 samples'),
            (broken, range(60), '2 of 60 samples have no usable logits .* at 3, 9 of the batch')):
        with pytest.raises(ValueError, match=message):
            statistics.update(given, target, keys)
    assert float(statistics.sums['count'].sum()) == 0
    with pytest.raises(ValueError, match='class 6'):
        statistics.update(torch.zeros(1, 6), torch.tensor([6]), [0])
    with pytest.raises(ValueError, match='all 2 samples have the label 2, 1 of 3 classes'):
        measured(torch.tensor([[3., 2, 1], [3, 2, 1]]), torch.full((2,), 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_device_counts_as_the_cpu_does():
    logits, target = random_samples(ties=True)
    found = measured(logits.cuda(), target.cuda())
    np.testing.assert_allclose(found.ambiguity, measured(logits, target).ambiguity, atol=1e-12)
