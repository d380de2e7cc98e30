import pytest
import torch
from torch.nn import functional as F

from wsld_plugin.losses.soft_cross_entropy import soft_cross_entropy


def case():
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 4, 7, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), F.softmax(teacher, 1)


@pytest.mark.parametrize('tau', [0.5, 1.0, 4.0])
def test_equals_cross_entropy_of_tempered_logits(tau):
    logits, p = case()
    expected = F.cross_entropy(logits / tau, p, reduction='none')
    torch.testing.assert_close(soft_cross_entropy(logits, p, tau), expected)


@pytest.mark.parametrize('tau', [0.5, 1.0, 4.0])
def test_closed_form_gradient_is_the_numerical_one(tau):
    logits, p = case()
    assert torch.autograd.gradcheck(lambda logits: soft_cross_entropy(logits, p, tau), logits)


def test_gradient_can_be_differentiated_again():
    logits, p = case()
    assert torch.autograd.gradgradcheck(lambda logits: soft_cross_entropy(logits, p, 2.0), logits)
