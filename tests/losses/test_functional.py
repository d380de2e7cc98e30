"""The formulas against SciPy in float64, their closed-form gradients, and the identities that follow."""
import doctest
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from torch.nn import functional as F

from wsld_plugin.losses import biased, functional, soft_label
from wsld_plugin.losses.functional import gradient_parts, kd, regularization_samples, wsld, wsld_weights

READINGS = ('label', 'row')
LOSSES = [lambda s, t, y, **kwargs: kd(s, t, **kwargs), wsld]
each_loss = pytest.mark.parametrize('loss', LOSSES, ids=['kd', 'wsld'])


def case(n=6, c=10, dtype=torch.float64, scale=3.0):
    """Random logits of student and teacher, and class indices."""
    generator = torch.Generator().manual_seed(n * c)
    s, t = scale * torch.randn(2, n, c, generator=generator, dtype=torch.float64)
    return s.to(dtype), t.to(dtype), torch.randint(c, (n,), generator=generator)


def mixed(y, c, lam=0.7):
    """Targets as Mixup makes them, (N, C)."""
    one_hot = F.one_hot(y, c).double()
    return lam * one_hot + (1 - lam) * one_hot.flip(0)


def oracle(s, t, target, tau):
    """The weights, and the weighted soft cross entropies, of rows of probabilities as target, in NumPy's float64."""
    s, t, target = (each.double().numpy() for each in (s, t, target))
    student_ce, teacher_ce = (-(target * log_softmax(logits, 1)).sum(1) for logits in (s, t))
    weights = 1 - np.exp(-student_ce / (teacher_ce + 1e-7))
    losses = -tau**2 * weights * (softmax(t / tau, 1) * log_softmax(s / tau, 1)).sum(1)
    return torch.from_numpy(weights), torch.from_numpy(losses)


def gradient(loss, s, *args, **kwargs):
    s = s.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(s, *args, **kwargs), s)[0]


@pytest.mark.parametrize('c', [2, 21841])
def test_kd_and_wsld_equal_scipy_for_indices_of_any_type_and_for_probabilities(c):
    s, t, y = case(4, c)
    for tau in (1.0, 4):
        p, q = softmax(t.numpy() / tau, 1), softmax(s.numpy() / tau, 1)
        expected = torch.from_numpy(tau**2 * rel_entr(p, q).sum(1))
        torch.testing.assert_close(kd(s, t, tau, 'none'), expected, rtol=1e-9, atol=1e-12)
        single = kd(s.float(), t.float(), tau, 'none')
        torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-6)
        for target, rows in ((y, F.one_hot(y, c).double()), (mixed(y, c), mixed(y, c))):
            weights, expected = oracle(s, t, rows, tau)
            torch.testing.assert_close(wsld(s, t, target, tau, 'none'), expected, rtol=1e-12, atol=0)
            single = wsld(s.float(), t.float(), target, tau, 'none')
            torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=0)
            torch.testing.assert_close(wsld_weights(s, t, target), weights, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient(wsld, s, t, y), gradient(wsld, s, t, F.one_hot(y, c).double()))
    assert wsld(s, t, y.to(torch.int16)) == wsld(s, t, y.to(torch.int32)) == wsld(s, t, y)
    for dtype in (torch.int64, torch.uint8, torch.float32):
        torch.testing.assert_close(wsld(s, t, F.one_hot(y, c).to(dtype)), wsld(s, t, y))


def test_weights_run_from_zero_to_one_have_the_values_of_the_authors_and_follow_a_given_teacher_ce():
    right, wrong, label = torch.tensor([[1e4, 0.]]), torch.tensor([[0., 1e4]]), torch.tensor([0])
    assert wsld_weights(right, wrong, label) == wsld_weights(right, right, label) == 0
    assert wsld_weights(wrong, right, label) == 1
    i, k = torch.arange(5).double()[:, None], torch.arange(7).double()
    s, t, y = 4 * torch.sin(7 * i + 3 * k), 6 * torch.cos(5 * i + 2 * k), 3 * torch.arange(5) % 7
    expected = torch.tensor([.9809535096, .5241567844, .2032823833, .8532596079, .8139417314]).double()
    torch.testing.assert_close(wsld_weights(s, t, y), expected, rtol=0, atol=1e-7)
    soft = wsld(s, t, y, tau=2.0)
    assert soft.item() == pytest.approx(7.1456334331, abs=1e-9)
    assert (F.cross_entropy(s, y) + 2.5 * soft).item() == pytest.approx(21.6368551694, abs=1e-9)
    student_ce, own = (F.cross_entropy(logits, y, reduction='none') for logits in (s, t))
    torch.testing.assert_close(wsld(s, t, y, teacher_ce=own), wsld(s, t, y))
    other = wsld(s, t, y, reduction='none', teacher_ce=torch.full_like(own, 3.0))
    unweighted = wsld(s, t, y, reduction='none') / wsld_weights(s, t, y)
    torch.testing.assert_close(other, unweighted * (1 - torch.exp(-student_ce / 3)), rtol=1e-6, atol=0)


def test_small_weights_keep_their_digits_in_float32():
    s, t, y = case(dtype=torch.float32)
    student_ce = F.cross_entropy(s, y, reduction='none')
    full = wsld(s, t, y, reduction='none', teacher_ce=torch.zeros(len(y)))    # the ratio is large, w is 1
    for ratio in (1e-4, 1e-9, 1e-20):
        small = wsld(s, t, y, reduction='none', teacher_ce=student_ce / ratio)
        torch.testing.assert_close(small, full * -math.expm1(-ratio), rtol=1e-5, atol=0)


@pytest.mark.parametrize(('tau', 'student_tau', 'tau_squared', 'factor'), [
    (2.5, None, True, 2.5), (20.0, None, False, 1 / 20), (20.0, 1.0, True, 400), (20.0, 5.0, False, 1 / 5)])
def test_kd_gradient_is_closed_form(tau, student_tau, tau_squared, factor):
    s, t, _ = case()
    result = gradient(kd, s, t, tau, student_tau=student_tau, tau_squared=tau_squared)
    expected = factor / len(s) * (F.softmax(s / (student_tau or tau), 1) - F.softmax(t / tau, 1))
    torch.testing.assert_close(result, expected)


def test_wsld_gradient_is_closed_form_and_second_derivatives_pass_the_numerical_check():
    s, t, y = case(4, 7)
    free, certain = s.clone().requires_grad_(), torch.zeros(4)  # a certain teacher: every weight is 1
    for loss in (lambda s: wsld(s, t, y, 2.0, 'none', certain), lambda s: kd(s, t, 2.0, 'none', 0.5)):
        assert torch.autograd.gradcheck(loss, free)
        assert torch.autograd.gradgradcheck(loss, free)
    for target in (y, mixed(y, s.shape[1])):
        w = wsld_weights(s, t, target)[:, None]
        expected = 2.5 * w / len(s) * (F.softmax(s / 2.5, 1) - F.softmax(t / 2.5, 1))
        torch.testing.assert_close(gradient(wsld, s, t, target, 2.5), expected)


@each_loss
def test_shifts_and_orders_change_nothing_reductions_act_on_samples_and_gradients_of_rows_sum_to_zero(loss):
    s, t, y = case(c=1000)
    rows = gradient(loss, s, t, y, tau=2.0)
    assert rows.abs().max() > 1e-3
    assert rows.sum(1).abs().max() < 1e-15
    assert gradient(loss, s, s, y, tau=2.0).abs().max() < 1e-15
    assert (loss(s, s, y, tau=2.0) == 0) == (loss is not wsld)  # a divergence is then 0, a cross entropy is not
    expected = loss(s, t, y, reduction='none')
    assert expected.shape == (len(s),)
    torch.testing.assert_close(loss(s, t, y, reduction='sum'), expected.sum())
    torch.testing.assert_close(loss(s, t, y), expected.sum() / len(s))
    shift = torch.arange(len(s)).double()[:, None]
    torch.testing.assert_close(loss(s + 5 * shift, t - 7 * shift, y, reduction='none'), expected)
    order = torch.randperm(s.shape[1], generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss(s[:, order], t[:, order], order.argsort()[y], reduction='none'), expected)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(loss(s[order], t[order], y[order], reduction='none'), expected[order])


@each_loss
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_also_under_autocast(loss, dtype):
    s, t, y = case(c=1000, dtype=dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    value, slope = loss(s.to(wide), t.to(wide), y), gradient(loss, s.to(wide), t.to(wide), y).to(dtype)
    for autocast in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            result = loss(s, t, y)
            assert torch.equal(gradient(loss, s, t, y), slope)
        assert result.dtype == wide == loss(s.bfloat16(), t, y).dtype
        assert torch.equal(result, value)
    rows = mixed(y, 1000) * .9 + .1 / 1000
    torch.testing.assert_close(loss(s, t, rows.to(dtype)), loss(s, t, rows), rtol=1e-2, atol=0)


def test_small_gradients_in_float16_survive_until_a_loss_scale_lifts_them():
    generator = torch.Generator().manual_seed(0)
    s, t = torch.randn(2, 2, 5000, generator=generator)
    s, t = s.half().requires_grad_(), (s + 1e-3 * t).half()
    scale = 2.0**16
    found = torch.autograd.grad(scale * kd(s, t, reduction='sum'), s)[0]
    exact = scale * (F.softmax(s.double(), 1) - F.softmax(t.double(), 1))
    assert (exact / scale).abs().max() < torch.finfo(torch.float16).tiny
    torch.testing.assert_close(found.double(), exact, rtol=2e-2, atol=2e-3)
    assert found.count_nonzero() > .9 * s.ne(t).count_nonzero()


@each_loss
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('size', [1e4, -1e4])
def test_extreme_logits_stay_finite(loss, dtype, size):
    s = torch.tensor([[size, 0, 0], [0, size, 0], [0, 0, size]], dtype=dtype)
    t, y = s.roll(1, 0), torch.tensor([0, 0, 1])
    assert loss(s, t, y, tau=2.0).isfinite()
    assert gradient(loss, s, t, y, tau=2.0).isfinite().all()
    weights = wsld_weights(s, t, y)
    assert ((weights >= 0) & (weights <= 1)).all()
    _, expected = oracle(s, t, F.one_hot(y, 3), 2.0)
    torch.testing.assert_close(wsld(s, t, y, 2.0, 'none').double(), expected, rtol=1e-5, atol=1e-4)


@each_loss
@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('owner', ['student', 'teacher'])
def test_logits_that_are_not_finite_give_a_loss_that_is_not_in_their_row(loss, value, owner):
    s, t, y = case(dtype=torch.float32)
    wrong = (y[2] + 1) % 10
    (s if owner == 'student' else t)[2, wrong] = value
    values = loss(s, t, y, reduction='none')
    assert values[torch.arange(6) != 2].isfinite().all()
    # A probability of 0 of the teacher: its part of a cross entropy is 0, of a divergence 0 · inf.
    ruled_out = owner == 'teacher' and value == -math.inf and loss is wsld
    assert values[2].isfinite() == ruled_out


@each_loss
def test_only_the_student_receives_a_gradient(loss):
    s, t, y = case()
    y, ce = mixed(y, s.shape[1]), torch.ones(len(y))
    for tensor in (s, t, y, ce):
        tensor.requires_grad_()
    (loss(s, t, y) + wsld(s, t, y, teacher_ce=ce)).backward()
    assert s.grad.abs().sum() > 0
    assert all(tensor.grad is None for tensor in (t, y, ce))
    assert not wsld_weights(s, t, y).requires_grad
    assert not loss(s.detach(), t, y).requires_grad


def test_compiled_as_one_graph_the_losses_are_the_same_and_still_reject_an_invalid_target():
    def both(s, t, y):
        return torch.stack([kd(s, t, reduction='none'), wsld(s, t, y, reduction='none')]).sum(1)
    s, t, y = case()
    torch.compiler.reset()
    compiled = torch.compile(both, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(s, t, y), both(s, t, y))
    weighted = [lambda *x, f=f: f(*x) @ torch.tensor([1., 3.]).double() for f in (compiled, both)]
    torch.testing.assert_close(*(gradient(each, s, t, y) for each in weighted))
    with pytest.raises(IndexError, match='Target 10 is out of bounds'):
        compiled(s, t, y.clone().fill_(10))
    with pytest.raises(RuntimeError, match='must be probabilities'):
        compiled(s, t, torch.ones_like(s))


@pytest.mark.parametrize('module', [functional, soft_label, biased])
def test_docstring_examples_hold(module):
    result = doctest.testmod(module, extraglobs={'torch': torch})
    assert result.attempted >= 2
    assert result.failed == 0


def autograd_parts(s, t, y, tau):
    """The gradients of the sums of both losses, from their definitions."""
    s = s.clone().requires_grad_()
    ce = F.cross_entropy(s, y, reduction='sum')
    soft = -tau**2 * (F.softmax(t / tau, 1) * F.log_softmax(s / tau, 1)).sum()
    return tuple(torch.autograd.grad(loss, s, retain_graph=True)[0] for loss in (ce, soft))


@pytest.mark.parametrize('tau', [0.5, 50.0])
def test_parts_are_the_gradients_of_the_two_losses_and_those_of_extreme_logits_finite_float32(tau):
    s, t, y = case(200, 7)
    for target in (y, mixed(y, 7)):
        *parts, rows = gradient_parts(s, t, target, tau)
        assert torch.equal(rows, F.one_hot(y, 7).double() if target is y else target)
        for ours, oracle in zip(parts, autograd_parts(s, t, target, tau), strict=True):
            torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-12)
            torch.testing.assert_close(ours.sum(1), torch.zeros(200).double(), rtol=0, atol=1e-12)
            assert not ours.requires_grad
    extreme = torch.tensor([[1e4, -1e4], [0.0, 1e4]], dtype=torch.bfloat16)
    for part in gradient_parts(extreme, extreme.flip(1), torch.tensor([0, 1]), tau):
        assert part.dtype == torch.float32
        assert torch.isfinite(part).all()


@pytest.mark.parametrize('tau', [1.0, 8.0])
def test_samples_are_those_whose_variance_part_is_larger_none_for_equal_logits_or_a_certain_teacher(tau):
    s, t, y = case(200, 7)
    a, total = autograd_parts(s, t, y, tau)
    sizes = dict(label=[part.gather(1, y[:, None]).abs().squeeze(1) for part in (a, total - a)],
                 row=[part.norm(dim=1) for part in (a, total - a)])
    for reading in READINGS:
        found = regularization_samples(s, t, y, tau, reading)
        assert torch.equal(found, sizes[reading][1] > sizes[reading][0])
        assert torch.equal(found, regularization_samples(s, t, F.one_hot(y, 7).double(), tau, reading))
        assert 0 < found.sum() < len(found)
    rows = mixed(y, 7)  # at the label, their means count
    a, total = autograd_parts(s, t, rows, tau)
    a, b = (a * rows).sum(1).abs(), ((total - a) * rows).sum(1).abs()
    assert torch.equal(regularization_samples(s, t, rows, tau), b > a)
    for dtype, reading in itertools.product((torch.float64, torch.bfloat16), READINGS):
        s, _, y = case(200, 7, dtype)
        assert not regularization_samples(s, s, y, 4.0, reading).any()
        certain = F.one_hot(y, 7) * 1e4  # at temperature 1 L_kd is then the cross entropy itself, b = 0
        assert not regularization_samples(s.clamp(-4, 4), certain.to(dtype), y, 1.0, reading).any()
