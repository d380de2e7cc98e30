import numpy as np
import pytest
import torch
from torch.nn import functional as F

from wsld_plugin.analysis.regularization import BINS, MEASURES, SIZE, describe, sample_measures, summarize
from wsld_plugin.losses.functional import gradient_parts, regularization_samples, wsld_weights


def case(n=60, c=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    student, teacher = 3 * torch.randn(2, n, c, generator=generator, dtype=dtype)
    return student, teacher, torch.randint(c, (n,), generator=generator)


def by_name(measures):
    return dict(zip(MEASURES, measures, strict=True))


@pytest.mark.parametrize('soft_target', [False, True])
def test_each_measure_is_what_its_function_gives_also_in_half_precision_or_for_a_given_cross_entropy(soft_target):
    student, teacher, target = case()
    if soft_target:
        target = .8 * F.one_hot(target, 5).double() + .04
    found = by_name(sample_measures(student, teacher, target, 2.0))
    a, total, _ = gradient_parts(student, teacher, target, 2.0)
    expected = dict(
        regularization_label=regularization_samples(student, teacher, target, 2.0, 'label').double(),
        regularization_row=regularization_samples(student, teacher, target, 2.0, 'row').double(),
        weight=wsld_weights(student, teacher, target), bias_norm=a.norm(dim=1), variance_norm=(total - a).norm(dim=1),
        teacher_ce=F.cross_entropy(teacher, target, reduction='none'),
        student_ce=F.cross_entropy(student, target, reduction='none'),
        agreement=(student.argmax(1) == teacher.argmax(1)).double())
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)
    exact = F.cross_entropy(teacher, target, reduction='none')
    given = by_name(sample_measures(student, teacher.round(), target, 2.0, exact))
    assert torch.equal(given['teacher_ce'], exact)
    torch.testing.assert_close(given['weight'], wsld_weights(student, teacher, target))
    student, teacher = student.bfloat16(), teacher.bfloat16()
    half = sample_measures(student, teacher, target, 4.0)
    assert half.dtype == torch.float32
    assert torch.equal(half, sample_measures(student.float(), teacher.float(), target, 4.0))


def test_summaries_of_two_halves_add_up_and_are_described_by_means_and_quantiles_of_the_weights():
    measures = sample_measures(*case(n=5000), 2.0)
    whole, halves = summarize(measures), summarize(measures[:, :20]) + summarize(measures[:, 20:])
    assert whole[0] == 5000
    torch.testing.assert_close(halves, whole, rtol=1e-12, atol=0)
    described = describe(whole)
    for name, values in by_name(measures).items():
        assert described[name] == pytest.approx(float(values.mean()), rel=1e-9)
    for percent in (10, 50, 90):
        exact = np.percentile(by_name(measures)['weight'].numpy(), percent, method='inverted_cdf')
        assert described[f'weight_q{percent}'] == pytest.approx(exact, abs=5.01e-4)
    measures = torch.zeros(len(MEASURES), 4)
    measures[MEASURES.index('weight')] = torch.tensor([0., 0, 1, 1])
    histogram = summarize(measures)[-BINS:].tolist()
    assert (histogram[0], histogram[-1], sum(histogram)) == (2, 2, 4)


def test_samples_that_are_not_finite_or_hidden_are_skipped_and_counted():
    student, teacher, target = case(n=6)
    student[1] = float('nan')
    teacher[3, target[3]] = float('-inf')  # its cross entropy is infinite
    target[5] = -100
    whole = summarize(sample_measures(student, teacher, target, 2.0))
    assert whole[:2].tolist() == [3, 3]
    rest = summarize(sample_measures(student[::2], teacher[::2], target[::2], 2.0))
    assert torch.equal(whole[2:], rest[2:])
    assert describe(torch.zeros(SIZE)) == {}
    with pytest.raises(ValueError, match='class -1'):
        sample_measures(student, teacher, target.fill_(-1), 2.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_device_sums_as_the_cpu_does():
    batch = case(dtype=torch.float32)
    found = summarize(sample_measures(*(each.cuda() for each in batch), 2.0))
    torch.testing.assert_close(found.cpu()[:10], summarize(sample_measures(*batch, 2.0))[:10], rtol=1e-5, atol=1e-5)
