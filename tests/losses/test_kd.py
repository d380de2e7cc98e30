import pytest
import torch
from mmengine.registry import MODELS
from scipy.special import rel_entr, softmax

from wsld_plugin.losses import KD
from wsld_plugin.losses.functional import kd


def logits():
    return 3 * torch.randn(2, 8, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(('tau', 'loss_weight'), [(1.0, 1.0), (4, 2.25)])
def test_module_is_the_weighted_function(tau, loss_weight):
    student, teacher = logits()
    assert torch.equal(KD(tau, loss_weight)(student, teacher), loss_weight * kd(student, teacher, tau))


def test_defaults_leave_logits_and_loss_as_they_are():
    assert (KD().tau, KD().loss_weight) == (1.0, 1.0)


def test_defaults_have_none_of_the_other_factors():
    student, teacher = logits()
    explicit = KD(4.0, 0.9, student_tau=4.0, tau_squared=True, mean_over='samples', multiplier=1.0)
    assert torch.equal(explicit(student, teacher), KD(4.0, 0.9)(student, teacher))


@pytest.mark.parametrize('tau_squared', [True, False])
@pytest.mark.parametrize(('mean_over', 'divisor'), [('samples', 8), ('elements', 80)])
@pytest.mark.parametrize('student_tau', [None, 1.0, 7.5])
def test_every_factor_is_where_the_equation_has_it(tau_squared, mean_over, divisor, student_tau):
    student, teacher = logits().double()
    module = KD(5.0, 0.3, student_tau=student_tau, tau_squared=tau_squared, mean_over=mean_over, multiplier=50)
    p, q = softmax(teacher.numpy() / 5, 1), softmax(student.numpy() / (student_tau or 5), 1)
    expected = 0.3 * 50 * (25 if tau_squared else 1) / divisor * rel_entr(p, q).sum()
    assert module(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_labels_are_ignored():
    student, teacher = logits()
    assert torch.equal(KD()(student, teacher, torch.full((8,), -1)), KD()(student, teacher))


def test_module_has_no_state():
    assert not KD().state_dict()


def test_config_builds_the_module_from_any_scope():
    config = dict(type='wsld_plugin.KD', tau=4.0, loss_weight=0.9)
    module = MODELS.build(config)
    assert isinstance(module, KD)
    assert repr(module) == 'KD(tau=4.0, loss_weight=0.9)'


def test_printed_module_shows_what_is_not_the_default():
    module = KD(40.0, 0.95, student_tau=1.0, tau_squared=False, mean_over='elements', multiplier=50)
    assert repr(module) == ("KD(tau=40.0, loss_weight=0.95, student_tau=1.0, tau_squared=False, "
                            "mean_over='elements', multiplier=50)")
