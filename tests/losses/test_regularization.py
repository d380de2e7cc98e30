import pytest
import torch
from torch.nn import functional as F

from wsld_plugin.errors import ConfigError
from wsld_plugin.losses.regularization import gradient_parts, regularization_samples

READINGS = ('label', 'row')


def case(n=200, c=7, scale=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = scale * torch.randn(2, n, c, generator=generator, dtype=torch.float64)
    return student, teacher, torch.randint(c, (n,), generator=generator)


def mixed(target, c=7, share=.7):
    return share * F.one_hot(target, c).double() + (1 - share) * F.one_hot(target.flip(0), c).double()


def autograd_parts(student, teacher, target, tau):
    """The gradients of the sums of both losses, as their definitions have them."""
    student = student.clone().requires_grad_()
    ce = F.cross_entropy(student, target, reduction='sum')
    soft = -tau**2 * (F.softmax(teacher / tau, 1) * F.log_softmax(student / tau, 1)).sum()
    return tuple(torch.autograd.grad(loss, student, retain_graph=True)[0] for loss in (ce, soft - ce))


@pytest.mark.parametrize('tau', [0.5, 1.0, 4.0, 50.0])
@pytest.mark.parametrize('soft_target', [False, True])
def test_parts_are_the_gradients_of_the_two_losses(tau, soft_target):
    student, teacher, target = case()
    target = mixed(target) if soft_target else target
    for ours, oracle in zip(gradient_parts(student, teacher, target, tau),
                            autograd_parts(student, teacher, target, tau), strict=True):
        torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-12)


@pytest.mark.parametrize('tau', [1.0, 2.0, 8.0])
@pytest.mark.parametrize('reading', READINGS)
def test_samples_are_those_whose_variance_part_is_larger(tau, reading):
    student, teacher, target = case()
    a, b = autograd_parts(student, teacher, target, tau)
    if reading == 'label':
        a, b = (part.gather(1, target[:, None]).abs().squeeze(1) for part in (a, b))
    else:
        a, b = a.norm(dim=1), b.norm(dim=1)
    found = regularization_samples(student, teacher, target, tau, reading)
    assert torch.equal(found, b > a)
    assert 0 < found.sum() < len(found)


@pytest.mark.parametrize('tau', [1.0, 3.0])
def test_at_the_label_it_is_v_above_0_or_below_minus_2u(tau):
    student, teacher, target = case()
    label = target[:, None]
    u = 1 - student.softmax(1).gather(1, label).squeeze(1)
    v = tau * ((student / tau).softmax(1) - (teacher / tau).softmax(1)).gather(1, label).squeeze(1)
    below = v < -2 * u
    assert torch.equal(regularization_samples(student, teacher, target, tau), (v > 0) | below)
    assert below.any() == (tau > 1)  # at 1, v is at least -u


@pytest.mark.parametrize('reading', READINGS)
def test_one_hot_probabilities_equal_indices(reading):
    student, teacher, target = case()
    one_hot = F.one_hot(target, 7).double()
    assert torch.equal(regularization_samples(student, teacher, one_hot, 2.0, reading),
                       regularization_samples(student, teacher, target, 2.0, reading))


def test_the_label_logit_of_probabilities_is_their_mean():
    student, teacher, target = case()
    target = mixed(target)
    a, b = ((part * target).sum(1).abs() for part in autograd_parts(student, teacher, target, 2.0))
    assert torch.equal(regularization_samples(student, teacher, target, 2.0), b > a)


@pytest.mark.parametrize('reading', READINGS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_equal_logits_are_no_regularization_samples(reading, dtype):
    student, _, target = case()
    student = student.to(dtype)
    assert not regularization_samples(student, student, target, 4.0, reading).any()


def test_rows_of_both_parts_sum_to_0():
    for part in gradient_parts(*case(), tau=4.0):
        torch.testing.assert_close(part.sum(1), torch.zeros(200, dtype=torch.float64), rtol=0, atol=1e-12)


def test_for_large_temperatures_the_soft_gradient_is_the_difference_of_centred_logits():
    student, teacher, target = case()
    a, b = gradient_parts(student, teacher, target, tau=1e5)
    difference = student - teacher
    torch.testing.assert_close(a + b, (difference - difference.mean(1, keepdim=True)) / 7, rtol=0, atol=1e-3)


def test_a_certain_teacher_at_temperature_1_regularizes_nobody():
    student, _, target = case()
    teacher = F.one_hot(target, 7) * 1e4
    for reading in READINGS:  # L_kd is then the cross entropy itself, b = 0
        assert not regularization_samples(student.clamp(-4, 4), teacher.double(), target, 1.0, reading).any()


def test_a_teacher_less_sure_of_the_label_than_the_student_regularizes():
    student = torch.tensor([[2.0, 0.0, 0.0]])
    teacher = torch.tensor([[1.0, 0.0, 0.0]])
    assert regularization_samples(student, teacher, torch.tensor([0]), 1.0).item()
    assert not regularization_samples(teacher, student, torch.tensor([0]), 1.0).item()


@pytest.mark.parametrize('reading', READINGS)
def test_shifts_permutations_and_halves_change_nothing(reading):
    student, teacher, target = case()
    whole = regularization_samples(student, teacher, target, 2.0, reading)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    permuted = regularization_samples(student[:, order] + 3, teacher[:, order] - 5, order.argsort()[target], 2.0,
                                      reading)
    halves = [regularization_samples(student[part], teacher[part], target[part], 2.0, reading)
              for part in (slice(100), slice(100, None))]
    assert torch.equal(permuted, whole)
    assert torch.equal(torch.cat(halves), whole)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_extreme_logits_are_finite(dtype):
    student = torch.tensor([[1e4, -1e4], [0.0, 1e4]], dtype=dtype)
    for part in gradient_parts(student, student.flip(1), torch.tensor([0, 1]), tau=4.0):
        assert part.dtype == torch.float32
        assert torch.isfinite(part).all()


def test_nothing_has_a_gradient():
    student, teacher, target = case()
    a, b = gradient_parts(student.requires_grad_(), teacher, target, 2.0)
    assert not a.requires_grad
    assert not b.requires_grad


def test_logits_are_left_as_they_were():
    student, teacher, target = case()
    before = student.clone(), teacher.clone()
    regularization_samples(student, teacher, target, 1.0, 'row')
    assert torch.equal(student, before[0])
    assert torch.equal(teacher, before[1])


def test_wrong_arguments_are_refused_by_name():
    student, teacher, target = case()
    with pytest.raises(ConfigError, match=r"reading='lable'.*Did you mean 'label'"):
        regularization_samples(student, teacher, target, 2.0, 'lable')
    with pytest.raises(ConfigError, match='tau is 0'):
        gradient_parts(student, teacher, target, 0)
    with pytest.raises(ValueError, match='must be the same'):
        gradient_parts(student, teacher[:, :3], target, 1.0)
    with pytest.raises(ValueError, match='class 9'):
        gradient_parts(student, teacher, torch.full_like(target, 9), 1.0)
