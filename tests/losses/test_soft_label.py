"""The modules: the weighted functions, every factor at its place, MMRazor's loss as it is, and sample factors."""
import inspect

import pytest
import torch
from mmengine.registry import MODELS
from scipy.special import rel_entr, softmax
from torch.nn import functional as F

from wsld_plugin.errors import ConfigError
from wsld_plugin.losses import KD, WSLD
from wsld_plugin.losses.functional import kd, regularization_samples, wsld

# isort: split
from mmrazor.models.losses.weighted_soft_label_distillation import WSLD as RazorWSLD

each_kind = pytest.mark.parametrize('kind', [KD, WSLD])


def case(n=16, c=10, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    student, teacher = 3 * torch.randn(2, n, c, generator=generator, dtype=torch.float64)
    return student.to(dtype).requires_grad_(), teacher.to(dtype), torch.randint(c, (n,), generator=generator)


def per_sample(kind, student, teacher, target):
    return kd(student, teacher, 2.0, 'none') if kind is KD else wsld(student, teacher, target, 2.0, 'none')


@each_kind
def test_module_is_the_weighted_function_without_state_and_prints_what_is_not_the_default(kind):
    student, teacher, labels = case()
    module = MODELS.build(dict(type=f'wsld_plugin.{kind.__name__}', tau=2.0, loss_weight=2.5))
    for target in (labels, .5 * F.one_hot(labels, 10) + .5 * F.one_hot(labels.flip(0), 10).float()):
        assert torch.equal(module(student, teacher, target), 2.5 * per_sample(kind, student, teacher, target).mean())
        assert torch.equal(kind(2.0, 2.5, samples={})(student, teacher, target), module(student, teacher, target))
    assert not module.state_dict()
    assert torch.equal(KD(2.0)(student, teacher, torch.full((16,), -1)), KD(2.0)(student, teacher))
    assert repr(kind()) == f'{kind.__name__}(tau=1.0, loss_weight=1.0)'
    assert repr(kind(4.0, samples=dict(regularization=.5))).endswith(
        "(tau=4.0, loss_weight=1.0, samples={'reading': 'label', 'regularization': 0.5, 'others': 1.0})")
    module = KD(40.0, 0.95, student_tau=1.0, tau_squared=False, mean_over='elements', multiplier=50)
    assert repr(module) == ("KD(tau=40.0, loss_weight=0.95, student_tau=1.0, tau_squared=False, "
                            "mean_over='elements', multiplier=50)")


@pytest.mark.parametrize(('settings', 'factor', 'student_tau'), [
    (dict(), 25 / 16, 5), (dict(tau_squared=False, mean_over='elements', multiplier=50), 50 / 160, 5),
    (dict(student_tau=7.5, mean_over='elements'), 25 / 160, 7.5),
    (dict(student_tau=7.5, tau_squared=False), 1 / 16, 7.5)])
def test_every_factor_of_kd_is_where_the_equation_has_it(settings, factor, student_tau):
    student, teacher, _ = case(dtype=torch.float64)
    p, q = softmax(teacher.numpy() / 5, 1), softmax(student.detach().numpy() / student_tau, 1)
    assert KD(5.0, 0.3, **settings)(student, teacher).item() == pytest.approx(
        0.3 * factor * rel_entr(p, q).sum(), rel=1e-12)


def test_loss_gradient_and_signature_are_those_of_mmrazor_but_the_teachers_cross_entropy_may_be_given():
    for tau, loss_weight, c in ((2, 2.5, 1000), (1.0, 1.0, 10)):
        student, teacher, labels = case(c=c)
        ours = WSLD(tau, loss_weight, num_classes=1000)(student, teacher, labels)
        theirs = RazorWSLD(tau, loss_weight, num_classes=c)(student, teacher, labels)
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(*(torch.autograd.grad(loss, student)[0] for loss in (ours, theirs)))
    ours, theirs = (inspect.signature(loss).parameters for loss in (WSLD, RazorWSLD))
    assert list(ours)[:len(theirs)] == list(theirs)
    assert all(ours[name].default is None for name in list(ours)[len(theirs):])
    assert all(ours[name].default == theirs[name].default for name in ('tau', 'loss_weight'))
    ours, theirs = (inspect.signature(loss.forward).parameters for loss in (WSLD, RazorWSLD))
    assert list(ours)[:len(theirs)] == list(theirs)
    assert all(ours[name].default is not inspect.Parameter.empty for name in list(ours)[len(theirs):])
    exact, rounded = F.cross_entropy(teacher, labels, reduction='none'), teacher.round()
    known = WSLD(2.0, 2.5)(student, rounded, labels, teacher_ce=exact)
    assert torch.equal(known, 2.5 * wsld(student, rounded, labels, 2.0, teacher_ce=exact))
    assert not torch.allclose(known, WSLD(2.0, 2.5)(student, rounded, labels))


@each_kind
@pytest.mark.parametrize('reading', ['label', 'row'])
def test_each_group_has_its_factor_also_in_half_precision_and_the_mean_divides_by_all_but_needs_labels(kind, reading):
    student, teacher, target = case(40, 6, torch.float64)
    chosen = regularization_samples(student, teacher, target, 2.0, reading)
    values = per_sample(kind, student, teacher, target)
    expected = .9 / 40 * (.3 * values[chosen].sum() + 2 * values[~chosen].sum())
    loss = kind(2.0, .9, samples=dict(reading=reading, regularization=.3, others=2))
    assert loss(student, teacher, target).item() == pytest.approx(expected.item(), rel=1e-12)
    assert 0 < chosen.sum() < 40
    student, teacher = student.bfloat16(), teacher.bfloat16()
    mixed = torch.full((40, 6), .02).scatter_(1, target[:, None], .9)
    assert torch.equal(loss(student, teacher, mixed), loss(student.float(), teacher.float(), mixed))
    with pytest.raises(ConfigError, match=r"gt_labels=dict\(recorder='target'"):
        KD(2.0, samples=dict(regularization=0))(student, teacher)


def infinite_case(regularization):
    """As ``case``, with one sample of infinite loss, which is a regularization sample or is not."""
    student, teacher, target = case(40, 6, torch.float64)
    for row in range(40):
        infinite = student.detach().clone()
        infinite[row, (target[row] + 1) % 6] = -torch.inf
        chosen = regularization_samples(infinite, teacher, target, 2.0)
        if chosen[row] == regularization:
            return infinite, teacher, target, chosen
    raise AssertionError


@each_kind
@pytest.mark.parametrize('dropped', ['regularization', 'others'])
def test_a_dropped_sample_contributes_nothing_even_if_infinite_but_other_infinite_or_nan_losses_stay(kind, dropped):
    student, teacher, target, chosen = infinite_case(dropped == 'regularization')
    kept = chosen == (dropped == 'others')
    values = per_sample(kind, student.requires_grad_(), teacher, target)
    assert values.isinf().sum() == values[~kept].isinf().sum() == 1
    module = kind(2.0, samples={dropped: 0})
    loss = module(student, teacher, target)
    assert loss.item() == pytest.approx(values[kept].sum().item() / 40, rel=1e-12)
    gradient, = torch.autograd.grad(loss, student)
    torch.testing.assert_close(gradient, torch.autograd.grad(values[kept].sum() / 40, student)[0])
    assert not gradient[~kept].any()
    assert module(student.index_fill(0, torch.tensor([5]), torch.nan), teacher, target).isnan()
    student, teacher, target, _ = infinite_case(dropped == 'others')
    assert module(student, teacher, target) == torch.inf
