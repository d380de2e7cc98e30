import math

import pytest
import torch
from mmengine.registry import MODELS
from torch.nn import functional as F

from wsld_plugin.connectors import TopClasses
from wsld_plugin.errors import ConfigError
from wsld_plugin.losses import KD
from wsld_plugin.losses.partial_label import PartialLabelLoss, partial_label


def logits(n=6, c=5, dtype=torch.float64):
    student, teacher = 3 * torch.randn(2, n, c, generator=torch.Generator().manual_seed(n * c), dtype=torch.float64)
    return student.to(dtype), teacher.to(dtype)


def candidates(n=6, c=5):
    """Sets of one to all classes, as logits: 0 inside and -inf outside."""
    inside = torch.arange(c) <= torch.arange(n)[:, None] % c
    return torch.zeros(n, c, dtype=torch.float64).masked_fill(~inside, -torch.inf), inside


def loop(student, teacher, tau):
    """From the docstring, a number at a time."""
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        norm = math.fsum(math.exp(value) for value in s)
        plausible = [math.exp((value - max(t)) / tau) for value in t]
        total -= math.log(math.fsum(u * math.exp(value) / norm for u, value in zip(plausible, s, strict=True)))
    return total / len(student)


@pytest.mark.parametrize('tau', [0.5, 1, 4.0])
@pytest.mark.parametrize(('dtype', 'exact'), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_loss_equals_loop(tau, dtype, exact):
    student, teacher = logits(dtype=dtype)
    result = partial_label(student, teacher, tau)
    assert result.dtype == dtype
    assert result.item() == pytest.approx(loop(student, teacher, tau), rel=exact)


@pytest.mark.parametrize('tau', [0.5, 3.0])
def test_gradient_is_student_less_what_is_left_of_it_among_the_plausible(tau):
    student, teacher = logits()
    gradient, = torch.autograd.grad(partial_label(student.requires_grad_(), teacher.requires_grad_(), tau), student)
    p = student.detach().softmax(1)
    left = p * (teacher.detach() / tau).softmax(1)
    torch.testing.assert_close(gradient, (p - left / left.sum(1, keepdim=True)) / len(p))
    assert teacher.grad is None


def test_gradient_passes_gradcheck():
    student, teacher = logits()
    assert torch.autograd.gradcheck(lambda s: partial_label(s, teacher, 2.0), student.requires_grad_())


def test_of_a_set_it_is_the_probability_of_the_set():
    student, _ = logits()
    teacher, inside = candidates()
    expected = -(student.softmax(1) * inside).sum(1).log().mean()
    torch.testing.assert_close(partial_label(student, teacher), expected)
    torch.testing.assert_close(partial_label(student, 7 + teacher, tau=3.0), expected)


def test_one_candidate_is_the_cross_entropy_and_no_preference_is_no_loss():
    student, teacher = logits()
    label = teacher.argmax(1)
    one = torch.zeros_like(teacher).scatter_(1, label[:, None], 1.0).log()
    torch.testing.assert_close(partial_label(student, one), F.cross_entropy(student, label))
    torch.testing.assert_close(partial_label(student, teacher, tau=1e-3), F.cross_entropy(student, label))
    assert abs(partial_label(student, torch.full_like(teacher, 2.0)).item()) < 1e-15


def test_its_minimum_is_the_label_where_kd_asks_for_the_mean_of_the_sets():
    """Every set of the label 0 and two of the four others, once each: the student is free to say anything."""
    sets = [(0, a, b) for a in range(1, 5) for b in range(1, a)]
    teacher = torch.full((len(sets), 5), math.log(1e-9), dtype=torch.float64)
    for row, members in zip(teacher, sets, strict=True):
        row[list(members)] = 0.0
    found = {}
    for loss in (KD(), PartialLabelLoss()):
        free = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([free], lr=1.0)
        for _ in range(2000):
            optimizer.zero_grad()
            loss(free.expand(len(sets), 5), teacher).backward()
            optimizer.step()
        found[type(loss)] = free.detach().softmax(0)
    torch.testing.assert_close(found[KD], torch.tensor([1 / 3] + [1 / 6] * 4).double(), atol=1e-6, rtol=0)
    assert found[PartialLabelLoss][0] > 0.999


def test_a_long_tail_of_impossible_classes_stays_finite():
    student = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    loss = partial_label(student, teacher)
    loss.backward()
    assert loss.item() == 400
    assert student.grad.tolist() == [[1.0, -1.0, 0.0]]


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher = logits(dtype=dtype)
    assert torch.equal(partial_label(student, teacher, 2.0), partial_label(student.float(), teacher.float(), 2.0))


def test_config_builds_the_module_and_it_is_the_weighted_function():
    module = MODELS.build(dict(type='wsld_plugin.PartialLabelLoss', tau=2.0, loss_weight=0.5))
    student, teacher = logits()
    assert isinstance(module, PartialLabelLoss)
    assert repr(module) == 'PartialLabelLoss(tau=2.0, loss_weight=0.5)'
    assert torch.equal(module(student, teacher), 0.5 * partial_label(student, teacher, 2.0))
    assert not module.state_dict()


def test_after_top_classes_the_order_of_the_first_does_not_count():
    student, teacher = logits(dtype=torch.float32)
    swapped = teacher.scatter(1, teacher.topk(2, 1).indices, teacher.topk(2, 1).values.flip(1))
    assert not torch.equal(teacher, swapped)
    connector = TopClasses(k=2)
    assert torch.equal(partial_label(student, connector(teacher)), partial_label(student, connector(swapped)))


@pytest.mark.parametrize('wrong', [dict(tau=0), dict(tau='2'), dict(loss_weight=math.inf), dict(loss_weight=True)])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PartialLabelLoss(**wrong)


def test_logits_that_do_not_fit_are_refused():
    student, teacher = logits()
    with pytest.raises(ValueError, match='class_map'):
        partial_label(student, teacher[:, :4])
    with pytest.raises(TypeError, match='teacher logits'):
        partial_label(student, teacher.argmax(1))
