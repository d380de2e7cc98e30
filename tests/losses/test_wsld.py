import inspect

import pytest
import torch
from torch.nn import functional as F

from wsld_plugin.losses import WSLD
from wsld_plugin.losses.functional import wsld

# isort: split
from mmrazor.models.losses.weighted_soft_label_distillation import WSLD as RazorWSLD
from mmrazor.registry import MODELS


def case(c=1000):
    generator = torch.Generator().manual_seed(0)
    student, teacher = 3 * torch.randn(2, 16, c, generator=generator)
    return student.requires_grad_(), teacher, torch.randint(c, (16,), generator=generator)


@pytest.mark.parametrize(('tau', 'loss_weight'), [(1.0, 1.0), (2, 2.5)])
def test_module_is_the_weighted_function(tau, loss_weight):
    student, teacher, labels = case()
    result = WSLD(tau, loss_weight)(student, teacher, labels)
    assert torch.equal(result, loss_weight * wsld(student, teacher, labels, tau))


@pytest.mark.parametrize(('tau', 'loss_weight'), [(1.0, 1.0), (2, 2.5)])
def test_loss_and_gradient_equal_those_of_mmrazor(tau, loss_weight):
    student, teacher, labels = case()
    ours, theirs = (loss(tau, loss_weight)(student, teacher, labels) for loss in (WSLD, RazorWSLD))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(loss, student)[0] for loss in (ours, theirs)))


def test_mmrazors_signature_is_kept():
    ours, theirs = (inspect.signature(loss).parameters for loss in (WSLD, RazorWSLD))
    assert list(ours)[:len(theirs)] == list(theirs)
    assert all(ours[name].default is None for name in list(ours)[len(theirs):])
    assert all(ours[name].default == theirs[name].default for name in ('tau', 'loss_weight'))
    ours, theirs = (inspect.signature(loss.forward).parameters for loss in (WSLD, RazorWSLD))
    assert list(ours)[:len(theirs)] == list(theirs)
    assert all(ours[name].default is not inspect.Parameter.empty for name in list(ours)[len(theirs):])


@pytest.mark.usefixtures('mmrazor_scope')
def test_one_word_changes_a_config_of_mmrazor():
    config = dict(type='WSLD', tau=2, loss_weight=2.5, num_classes=1000)
    assert isinstance(MODELS.build(config), RazorWSLD)
    module = MODELS.build({**config, 'type': 'wsld_plugin.WSLD'})
    assert isinstance(module, WSLD)
    assert repr(module) == 'WSLD(tau=2, loss_weight=2.5)'


@pytest.mark.parametrize('num_classes', [None, 1000])
def test_logits_tell_the_number_of_classes(num_classes):
    student, teacher, labels = case(c=10)
    torch.testing.assert_close(WSLD(num_classes=num_classes)(student, teacher, labels),
                               RazorWSLD(num_classes=10)(student, teacher, labels))


def test_targets_of_mixup_are_accepted():
    student, teacher, labels = case(c=10)
    mixed = .5 * F.one_hot(labels, 10).float() + .5 * F.one_hot(labels.flip(0), 10).float()
    assert torch.equal(WSLD(2.0)(student, teacher, mixed), wsld(student, teacher, mixed, 2.0))


def test_known_cross_entropy_of_the_teacher_takes_the_place_of_its_logits_in_the_weight():
    student, teacher, labels = case(c=10)
    exact = F.cross_entropy(teacher, labels, reduction='none')
    rounded = teacher.round()
    known = WSLD(2.0, 2.5)(student, rounded, labels, teacher_ce=exact)
    assert torch.equal(known, 2.5 * wsld(student, rounded, labels, 2.0, teacher_ce=exact))
    assert not torch.allclose(known, WSLD(2.0, 2.5)(student, rounded, labels))
    torch.testing.assert_close(WSLD(2.0, 2.5)(student, teacher, labels, teacher_ce=exact),
                               WSLD(2.0, 2.5)(student, teacher, labels))


def test_module_has_no_state():
    assert not WSLD().state_dict()
