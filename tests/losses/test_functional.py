"""The formulas against float64 loops and SciPy, their closed-form gradients, and the identities that follow."""
import doctest
import math

import pytest
import torch
from scipy.special import rel_entr, softmax
from torch.nn import functional as F

from wsld_plugin.errors import ConfigError
from wsld_plugin.losses import biased, functional, soft_label
from wsld_plugin.losses.functional import gradient_parts, kd, regularization_samples, wsld, wsld_weights

CLASSES = [2, 10, 1000, 21841]
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


def loop_log_softmax(row, tau=1.0):
    row = [value / tau for value in row]
    largest = max(row)
    log_sum = largest + math.log(math.fsum(math.exp(value - largest) for value in row))
    return [value - log_sum for value in row]


def loop_ce(row, target):
    return -math.fsum(y * log_q for y, log_q in zip(target, loop_log_softmax(row), strict=True))


def loop_weights(s, t, target):
    return [1 - math.exp(-loop_ce(s_i, y_i) / (loop_ce(t_i, y_i) + 1e-7))
            for s_i, t_i, y_i in zip(s, t, target, strict=True)]


def loop_wsld(s, t, target, tau):
    s, t, target = s.tolist(), t.tolist(), target.tolist()
    losses = []
    for s_i, t_i, w_i in zip(s, t, loop_weights(s, t, target), strict=True):
        pairs = zip(loop_log_softmax(t_i, tau), loop_log_softmax(s_i, tau), strict=True)
        losses.append(-tau**2 * w_i * math.fsum(math.exp(log_p) * log_q for log_p, log_q in pairs))
    return torch.tensor(losses, dtype=torch.float64)


def gradient(loss, s, *args, **kwargs):
    s = s.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(s, *args, **kwargs), s)[0]


def test_check_values_of_the_authors_formula():
    i, k = torch.arange(5).double()[:, None], torch.arange(7).double()
    s, t, y = 4 * torch.sin(7 * i + 3 * k), 6 * torch.cos(5 * i + 2 * k), 3 * torch.arange(5) % 7
    expected = torch.tensor([.9809535096, .5241567844, .2032823833, .8532596079, .8139417314]).double()
    torch.testing.assert_close(wsld_weights(s, t, y), expected, rtol=0, atol=1e-7)
    soft = wsld(s, t, y, tau=2.0)
    assert soft.item() == pytest.approx(7.1456334331, abs=1e-9)
    assert (F.cross_entropy(s, y) + 2.5 * soft).item() == pytest.approx(21.6368551694, abs=1e-9)


@pytest.mark.parametrize('c', CLASSES)
@pytest.mark.parametrize('tau', [1.0, 4])
def test_wsld_equals_loop(c, tau):
    s, t, y = case(4, c)
    expected = loop_wsld(s, t, F.one_hot(y, c).double(), tau)
    torch.testing.assert_close(wsld(s, t, y, tau, 'none'), expected, rtol=1e-12, atol=0)
    single = wsld(s.float(), t.float(), y, tau, 'none')
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize('c', CLASSES)
@pytest.mark.parametrize('tau', [1.0, 4])
def test_kd_equals_scipy(c, tau):
    s, t, _ = case(4, c)
    p, q = softmax(t.numpy() / tau, 1), softmax(s.numpy() / tau, 1)
    expected = torch.from_numpy(tau**2 * rel_entr(p, q).sum(1))
    torch.testing.assert_close(kd(s, t, tau, 'none'), expected, rtol=1e-9, atol=1e-12)
    single = kd(s.float(), t.float(), tau, 'none')
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-6)


def test_weights_of_known_ratios():
    ratios = torch.tensor([.1, .25, .5, 1, 2, 5], dtype=torch.float64)
    t = torch.zeros(6, 2).double()
    s = torch.stack([torch.zeros(6).double(), torch.expm1(ratios * math.log(2)).log()], 1)
    expected = torch.tensor([.0952, .2212, .3935, .6321, .8647, .9933], dtype=torch.float64)
    weights = wsld_weights(s, t, torch.zeros(6, dtype=torch.long))
    torch.testing.assert_close(weights, expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize('ratio', [1e-4, 1e-7, 1e-9, 1e-20])
def test_small_weights_keep_their_digits_in_float32(ratio):
    s, t, y = case(dtype=torch.float32)
    student_ce = F.cross_entropy(s, y, reduction='none')
    full = wsld(s, t, y, reduction='none', teacher_ce=torch.zeros(len(y)))    # the ratio is large, w is 1
    small = wsld(s, t, y, reduction='none', teacher_ce=student_ce / ratio)
    torch.testing.assert_close(small, full * -math.expm1(-ratio), rtol=1e-5, atol=0)


def test_weights_run_from_zero_to_one():
    right, wrong = torch.tensor([[1e4, 0.]]), torch.tensor([[0., 1e4]])
    y = torch.tensor([0])
    assert wsld_weights(right, wrong, y) == 0
    assert wsld_weights(wrong, right, y) == 1
    assert wsld_weights(right, right, y) == 0


@pytest.mark.parametrize(('tau', 'student_tau', 'tau_squared', 'factor'), [
    (1.0, None, True, 1), (2.5, None, True, 2.5), (20.0, None, False, 1 / 20), (20.0, 1.0, True, 400),
    (20.0, 5.0, False, 1 / 5)])
def test_kd_gradient_is_closed_form(tau, student_tau, tau_squared, factor):
    s, t, _ = case()
    result = gradient(kd, s, t, tau, student_tau=student_tau, tau_squared=tau_squared)
    expected = factor / len(s) * (F.softmax(s / (student_tau or tau), 1) - F.softmax(t / tau, 1))
    torch.testing.assert_close(result, expected)


def test_kd_of_equal_tempered_distributions_is_zero_without_gradient():
    s, _, _ = case()
    assert kd(s, 4 * s, tau=4.0, student_tau=1.0).abs() < 1e-12
    assert gradient(kd, s, 4 * s, 4.0, student_tau=1.0).abs().max() < 1e-12
    assert kd(s, s, tau=4.0, student_tau=1.0) > 0


@pytest.mark.parametrize('tau', [1.0, 2.5])
@pytest.mark.parametrize('soft', [False, True])
def test_wsld_gradient_is_closed_form(tau, soft):
    s, t, y = case()
    y = mixed(y, s.shape[1]) if soft else y
    w = wsld_weights(s, t, y)[:, None]
    expected = tau * w / len(s) * (F.softmax(s / tau, 1) - F.softmax(t / tau, 1))
    torch.testing.assert_close(gradient(wsld, s, t, y, tau), expected)


@each_loss
def test_gradient_of_each_row_sums_to_zero_and_that_of_equal_logits_is_zero(loss):
    s, t, y = case(c=1000)
    rows = gradient(loss, s, t, y, tau=2.0)
    assert rows.abs().max() > 1e-3
    assert rows.sum(1).abs().max() < 1e-15
    assert gradient(loss, s, s, y, tau=2.0).abs().max() < 1e-15


def test_equal_logits_give_no_divergence_but_a_cross_entropy():
    s, _, y = case(dtype=torch.float32)
    assert kd(s, s, tau=2.0) == 0
    assert wsld(s, s, y) > 0


def test_first_and_second_derivatives_pass_the_numerical_check():
    s, t, y = case(4, 7)
    certain = torch.zeros(4)    # a certain teacher: every weight is 1
    s.requires_grad_()
    for loss in (lambda s: wsld(s, t, y, 2.0, 'none', certain), lambda s: kd(s, t, 2.0, 'none', 0.5)):
        assert torch.autograd.gradcheck(loss, s)
        assert torch.autograd.gradgradcheck(loss, s)


@each_loss
def test_shifted_rows_and_permuted_classes_change_nothing_and_a_permuted_batch_permutes_the_losses(loss):
    s, t, y = case()
    expected = loss(s, t, y, reduction='none')
    shift = torch.arange(len(s)).double()[:, None]
    torch.testing.assert_close(loss(s + 5 * shift, t - 7 * shift, y, reduction='none'), expected)
    order = torch.randperm(s.shape[1], generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss(s[:, order], t[:, order], order.argsort()[y], reduction='none'), expected)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(loss(s[order], t[order], y[order], reduction='none'), expected[order])


@each_loss
def test_reductions_act_on_samples_only(loss):
    s, t, y = case()
    per_sample = loss(s, t, y, reduction='none')
    assert per_sample.shape == (len(s),)
    torch.testing.assert_close(loss(s, t, y, reduction='sum'), per_sample.sum())
    torch.testing.assert_close(loss(s, t, y), per_sample.sum() / len(s))
    halves = [loss(*(x[half] for x in (s, t, y))) for half in (slice(3), slice(3, None))]
    torch.testing.assert_close(sum(halves) / 2, loss(s, t, y))


@pytest.mark.parametrize('c', CLASSES)
def test_indices_of_any_integer_type_equal_one_hot_rows(c):
    s, t, y = case(c=c)
    one_hot = F.one_hot(y, c).double()
    torch.testing.assert_close(wsld(s, t, y), wsld(s, t, one_hot))
    torch.testing.assert_close(gradient(wsld, s, t, y), gradient(wsld, s, t, one_hot))
    for dtype in (torch.int16, torch.int32):
        assert wsld(s, t, y.to(dtype)) == wsld(s, t, y)


def test_probabilities_weigh_by_the_ratio_of_soft_cross_entropies():
    s, t, y = case()
    y = mixed(y, s.shape[1])
    expected = torch.tensor(loop_weights(s.tolist(), t.tolist(), y.tolist()), dtype=torch.float64)
    torch.testing.assert_close(wsld_weights(s, t, y), expected)
    torch.testing.assert_close(wsld(s, t, y, 2.0, 'none'), loop_wsld(s, t, y, 2.0))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_probabilities_in_half_precision_are_accepted(dtype):
    s, t, y = case(c=1000, dtype=torch.float32)
    y = mixed(y, 1000) * .9 + .1 / 1000
    torch.testing.assert_close(wsld(s, t, y.to(dtype)), wsld(s, t, y.float()), rtol=1e-2, atol=0)


@each_loss
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(loss, dtype):
    s, t, y = case(c=1000, dtype=dtype)
    result = loss(s, t, y)
    assert result.dtype == torch.float32
    assert torch.equal(result, loss(s.float(), t.float(), y))
    assert torch.equal(gradient(loss, s, t, y), gradient(loss, s.float(), t.float(), y).to(dtype))


@each_loss
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(loss, dtype):
    s, t, y = case(dtype=dtype)
    with torch.autocast('cpu', torch.bfloat16):
        inside = loss(s, t, y)
        inside_gradient = gradient(loss, s, t, y)
    assert inside.dtype == loss(s.bfloat16(), t, y).dtype == (dtype if dtype.itemsize == 8 else torch.float32)
    assert torch.equal(inside, loss(s, t, y))
    assert torch.equal(inside_gradient, gradient(loss, s, t, y))


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
    expected = loop_wsld(s.double(), t.double(), F.one_hot(y, 3).double(), 2.0)
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
    y = mixed(y, s.shape[1])
    for tensor in (s, t, y):
        tensor.requires_grad_()
    loss(s, t, y).backward()
    assert s.grad.abs().sum() > 0
    assert t.grad is None
    assert y.grad is None
    assert not wsld_weights(s, t, y).requires_grad
    assert not loss(s.detach(), t, y).requires_grad


def test_given_teacher_ce_replaces_the_teachers_own():
    s, t, y = case()
    own = F.cross_entropy(t, y, reduction='none').requires_grad_()
    torch.testing.assert_close(wsld(s, t, y, teacher_ce=own), wsld(s, t, y))
    assert not wsld(s, t, y, teacher_ce=own).requires_grad
    other = wsld(s, t, y, reduction='none', teacher_ce=torch.full_like(own, 3.0))
    student_ce = F.cross_entropy(s, y, reduction='none')
    unweighted = wsld(s, t, y, reduction='none') / wsld_weights(s, t, y)
    torch.testing.assert_close(other, unweighted * (1 - torch.exp(-student_ce / 3)), rtol=1e-6, atol=0)


@each_loss
def test_compiled_as_one_graph_it_is_the_same(loss):
    s, t, y = case()
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(s, t, y), loss(s, t, y))
    torch.testing.assert_close(gradient(compiled, s, t, y), gradient(loss, s, t, y))


def test_compiled_it_still_refuses_an_invalid_target():
    s, t = torch.randn(2, 3, 4)
    torch.compiler.reset()
    compiled = torch.compile(wsld, fullgraph=True, backend='aot_eager')
    with pytest.raises(IndexError, match='Target 4 is out of bounds'):
        compiled(s, t, torch.tensor([0, 4, 1]))
    with pytest.raises(RuntimeError, match='must be probabilities'):
        compiled(s, t, torch.ones(3, 4))


@pytest.mark.parametrize('module', [functional, soft_label, biased])
def test_docstring_examples_hold(module):
    result = doctest.testmod(module, extraglobs={'torch': torch})
    assert result.attempted >= 2
    assert result.failed == 0


# The parts of the gradient, and regularization samples

def autograd_parts(s, t, y, tau):
    """The gradients of the sums of both losses, from their definitions."""
    s = s.clone().requires_grad_()
    ce = F.cross_entropy(s, y, reduction='sum')
    soft = -tau**2 * (F.softmax(t / tau, 1) * F.log_softmax(s / tau, 1)).sum()
    return tuple(torch.autograd.grad(loss, s, retain_graph=True)[0] for loss in (ce, soft - ce))


@pytest.mark.parametrize('tau', [0.5, 1.0, 4.0, 50.0])
@pytest.mark.parametrize('soft_target', [False, True])
def test_parts_are_the_gradients_of_the_two_losses(tau, soft_target):
    s, t, y = case(200, 7)
    y = mixed(y, 7) if soft_target else y
    for ours, oracle in zip(gradient_parts(s, t, y, tau), autograd_parts(s, t, y, tau), strict=True):
        torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-12)
        torch.testing.assert_close(ours.sum(1), torch.zeros(200).double(), rtol=0, atol=1e-12)
        assert not ours.requires_grad


@pytest.mark.parametrize('tau', [1.0, 2.0, 8.0])
@pytest.mark.parametrize('reading', READINGS)
def test_samples_are_those_whose_variance_part_is_larger(tau, reading):
    s, t, y = case(200, 7)
    a, b = autograd_parts(s, t, y, tau)
    if reading == 'label':
        a, b = (part.gather(1, y[:, None]).abs().squeeze(1) for part in (a, b))
    else:
        a, b = a.norm(dim=1), b.norm(dim=1)
    found = regularization_samples(s, t, y, tau, reading)
    assert torch.equal(found, b > a)
    assert 0 < found.sum() < len(found)


@pytest.mark.parametrize('tau', [1.0, 3.0])
def test_at_the_label_it_is_v_above_0_or_below_minus_2u(tau):
    s, t, y = case(200, 7)
    u = 1 - s.softmax(1).gather(1, y[:, None]).squeeze(1)
    v = tau * ((s / tau).softmax(1) - (t / tau).softmax(1)).gather(1, y[:, None]).squeeze(1)
    below = v < -2 * u
    assert torch.equal(regularization_samples(s, t, y, tau), (v > 0) | below)
    assert below.any() == (tau > 1)  # at 1, v is at least -u


def test_the_label_logit_of_probabilities_is_their_mean_and_of_one_hot_ones_that_of_indices():
    s, t, y = case(200, 7)
    for reading in READINGS:
        assert torch.equal(regularization_samples(s, t, F.one_hot(y, 7).double(), 2.0, reading),
                           regularization_samples(s, t, y, 2.0, reading))
    y = mixed(y, 7)
    a, b = ((part * y).sum(1).abs() for part in autograd_parts(s, t, y, 2.0))
    assert torch.equal(regularization_samples(s, t, y, 2.0), b > a)


@pytest.mark.parametrize('reading', READINGS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_equal_logits_are_no_regularization_samples(reading, dtype):
    s, _, y = case(200, 7, dtype)
    assert not regularization_samples(s, s, y, 4.0, reading).any()


def test_a_certain_teacher_regularizes_no_sample_and_one_less_sure_than_the_student_does():
    s, _, y = case(200, 7)
    t = F.one_hot(y, 7) * 1e4
    for reading in READINGS:  # at temperature 1 L_kd is then the cross entropy itself, b = 0
        assert not regularization_samples(s.clamp(-4, 4), t.double(), y, 1.0, reading).any()
    s, t, y = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0])
    assert regularization_samples(s, t, y, 1.0).item()
    assert not regularization_samples(t, s, y, 1.0).item()


@pytest.mark.parametrize('reading', READINGS)
def test_shifts_permutations_and_halves_keep_the_samples(reading):
    s, t, y = case(200, 7)
    whole = regularization_samples(s, t, y, 2.0, reading)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    permuted = regularization_samples(s[:, order] + 3, t[:, order] - 5, order.argsort()[y], 2.0, reading)
    halves = [regularization_samples(s[part], t[part], y[part], 2.0, reading)
              for part in (slice(100), slice(100, None))]
    assert torch.equal(permuted, whole)
    assert torch.equal(torch.cat(halves), whole)


def test_parts_of_extreme_logits_are_finite_float32():
    s = torch.tensor([[1e4, -1e4], [0.0, 1e4]], dtype=torch.bfloat16)
    for part in gradient_parts(s, s.flip(1), torch.tensor([0, 1]), tau=4.0):
        assert part.dtype == torch.float32
        assert torch.isfinite(part).all()


def test_invalid_arguments_of_the_regularization_formulas_are_refused():
    s, t, y = case(200, 7)
    with pytest.raises(ConfigError, match=r"reading='lable'.*Did you mean 'label'"):
        regularization_samples(s, t, y, 2.0, 'lable')
    with pytest.raises(ConfigError, match='tau=0'):
        gradient_parts(s, t, y, 0)
    with pytest.raises(ConfigError, match='must be the same'):
        gradient_parts(s, t[:, :3], y, 1.0)
    with pytest.raises(ConfigError, match='class 9'):
        gradient_parts(s, t, torch.full_like(y, 9), 1.0)
