"""Records against float64: what is kept is exact up to float16, the mass of the rest is exact."""
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from wsld_plugin.losses.functional import wsld, wsld_weights
from wsld_plugin.soft_labels.records import decode, encode, record_type, to_tensors

HALF = 2.0**-11  # the relative rounding error of float16


def logits_of(n=6, c=12, scale=5.0, seed=0):
    return scale * torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def served(logits, labels, top_k=None, tau=None):
    fields = to_tensors(encode(logits, labels, top_k, tau), 'cpu')
    return decode(fields, logits.shape[1], tau).double(), fields['teacher_ce'].double()


def oracle(logits, top_k, tau):
    """Row by row: the tempered probabilities of the largest, and the rest of the mass in equal parts."""
    rows = []
    for row in logits.tolist():
        powers = [math.exp((value - max(row)) / tau) for value in row]
        total = math.fsum(powers)
        largest = sorted(range(len(row)), key=row.__getitem__)[-top_k:]
        rest = math.fsum(power for k, power in enumerate(powers) if k not in largest) / (len(row) - top_k)
        rows.append([(powers[k] if k in largest else rest) / total for k in range(len(row))])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize('scale', [0.1, 5.0, 300.0])
def test_all_logits_come_back_up_to_the_rounding_of_their_log_probability(scale):
    logits = logits_of(scale=scale)
    back, _ = served(logits, torch.zeros(6, dtype=torch.long))
    allowed = HALF * logits.log_softmax(1).abs() + 1e-6 * logits.abs().amax(1, keepdim=True) + 1e-7
    assert ((back - logits).abs() <= allowed).all()


@pytest.mark.parametrize('tau', [1.0, 2.0, 4.0, 20.0])
@pytest.mark.parametrize('top_k', [1, 3, 11])
def test_truncated_logits_give_the_kept_probabilities_and_spread_the_rest_evenly(top_k, tau):
    logits = logits_of()
    back, _ = served(logits, torch.zeros(6, dtype=torch.long), top_k, tau)
    expected = oracle(logits, top_k, tau)
    torch.testing.assert_close((back / tau).softmax(1), expected, rtol=2 * HALF * 30, atol=1e-7)
    tail = expected.topk(12 - top_k, largest=False)[0].sum(1)
    got = (back / tau).softmax(1).topk(12 - top_k, largest=False)[0]
    torch.testing.assert_close(got.sum(1), tail, rtol=0.01, atol=0)
    torch.testing.assert_close(got, got.mean(1, keepdim=True).expand_as(got), rtol=1e-5, atol=0)


def test_a_tail_of_a_billionth_keeps_its_mass():
    logits = torch.tensor([[25., 24., 0., 1., 2., 3.]], dtype=torch.float64)
    back, _ = served(logits, torch.tensor([0]), 2, 1.0)
    tail = logits.softmax(1)[0, 2:].sum()
    assert tail < 1e-9
    assert back.softmax(1)[0, 2:].sum().item() == pytest.approx(tail.item(), rel=1e-3)


@pytest.mark.parametrize('top_k', [None, 3])
def test_the_cross_entropy_is_exact_also_where_the_label_is_not_kept(top_k):
    logits = logits_of(n=12)
    labels = torch.arange(12)
    _, ce = served(logits, labels, top_k, 2.0)
    torch.testing.assert_close(ce, F.cross_entropy(logits, labels, reduction='none'), rtol=1e-7, atol=0)


def test_a_certain_teacher_has_a_cross_entropy_that_is_not_negative():
    _, ce = served(torch.tensor([[200., 0., 0.]]), torch.tensor([0]))
    assert ce.tolist() == [0.0]
    assert not math.copysign(1, ce.item()) < 0


@pytest.mark.parametrize('tau', [2.0, 4.0])
def test_weighted_soft_labels_of_a_truncated_cache_have_the_weights_of_the_whole_teacher(tau):
    teacher, student = logits_of(n=12), logits_of(n=12, seed=1)
    labels = torch.arange(12)
    back, ce = served(teacher, labels, 3, tau)
    weights = wsld_weights(student, teacher, labels)
    soft_ce = -(oracle(teacher, 3, tau) * (student / tau).log_softmax(1)).sum(1)
    got = wsld(student, back, labels, tau, reduction='none', teacher_ce=ce)
    torch.testing.assert_close(got, tau**2 * weights * soft_ce, rtol=5e-3, atol=1e-6)
    torch.testing.assert_close(got / (tau**2 * -((back / tau).softmax(1) * (student / tau).log_softmax(1)).sum(1)),
                               weights, rtol=1e-6, atol=0)
    without = wsld(student, back, labels, tau, reduction='none')
    assert ((without - got).abs() > 0.1 * got).any(), 'the truncated logits alone would have given the weights'


@pytest.mark.parametrize('n', [1, 50])
def test_shifted_logits_come_back_shifted_with_the_same_probabilities(n):
    logits = logits_of(n=n)
    labels = torch.zeros(n, dtype=torch.long)
    here, there = (served(each, labels, 3, 2.0)[0] for each in (logits, logits + 1000))
    torch.testing.assert_close(there, here + 1000, rtol=0, atol=2e-4)


def test_a_log_probability_beyond_float16_becomes_its_smallest_number():
    back, _ = served(torch.tensor([[1e6, 0.]]), torch.tensor([0]))
    assert back.isfinite().all()
    assert (back[0, 0] - back[0, 1]).item() == 65504


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match='not finite'):
        encode(torch.tensor([[0., bad]]), torch.tensor([0]))


@pytest.mark.parametrize(('classes', 'width'), [(10, 1), (256, 1), (257, 2), (65536, 2), (65537, 4)])
def test_an_index_is_as_wide_as_the_classes_need(classes, width):
    kind = record_type(classes, 5)
    assert kind.itemsize == 5 * (2 + width) + 12
    assert record_type(classes).itemsize == 2 * classes + 8
    assert np.iinfo(kind['classes'].base).max >= classes - 1


@pytest.mark.parametrize('label', [-1, 12])
def test_a_label_that_is_no_class_is_refused(label):
    with pytest.raises(ValueError, match=f'holds class {label}'):
        encode(logits_of(), torch.full((6, ), label))
