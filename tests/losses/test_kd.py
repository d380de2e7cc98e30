import pytest
import torch
from mmengine.registry import MODELS

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
