import copy

import pytest
import torch
from factories import build, classifier
from mmpretrain import get_model
from torch import nn

from wsld_plugin.engine.fold_batchnorm import Fold


def trained(network):
    """With statistics and affine maps that no fresh BatchNorm has."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in ((module.running_mean, -.5, .5), (module.running_var, .5, 2),
                                      (module.weight.data, .5, 1.5), (module.bias.data, -.5, .5)):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    network.eval()  # of mmpretrain's networks some return None
    return network


def norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


class Net(nn.Module):
    """conv → norm; the rest is up to its forward."""

    def __init__(self, forward):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self._forward = forward
        trained(self)

    def forward(self, x):
        return self._forward(self, x)


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('name', ['resnet18_8xb32_in1k', 'mobilenet-v2_8xb32_in1k', 'regnetx-400mf_8xb128_in1k'])
def test_every_batchnorm_of_a_teacher_of_the_zoo_is_folded_and_its_features_stay(name):
    backbone = trained(get_model(name, pretrained=False).backbone)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    exact = copy.deepcopy(backbone).double()
    fold = Fold(backbone)
    assert len(fold.pairs) == norms(backbone) > 15
    with torch.no_grad():
        wanted, = exact(images.double())
        before, = backbone(images)
        fold.apply()
        folded, = backbone(images)
        assert norms(backbone) == 0
        rounding = (before - wanted).abs().max()
        assert (folded - wanted).abs().max() < 4 * rounding + 1e-6
        fold.undo()
        assert torch.equal(backbone(images)[0], before)


def test_undoing_gives_the_same_modules_back():
    backbone = trained(build(classifier()).backbone)
    modules = dict(backbone.named_modules())
    fold = Fold(backbone)
    fold.apply()
    fold.undo()
    assert dict(backbone.named_modules()) == modules


@pytest.mark.parametrize('forward', [
    lambda net, x: (y := net.conv(x)) + net.norm(y),
    lambda net, x: net.norm(torch.relu(net.conv(x))),
    lambda net, x: net.conv(net.norm(x)),
    lambda net, x: net.norm(net.conv(net.conv(x))),
    lambda net, x: net.norm(net.norm(net.conv(x))),
    lambda net, x: net.norm(x) + net.conv(x),
], ids=['read twice', 'not adjacent', 'before', 'conv called twice', 'norm called twice', 'side by side'])
def test_a_pair_that_the_data_flow_does_not_prove_is_left(forward):
    assert Fold(Net(forward)).pairs == []


def test_a_pair_that_a_recorder_looks_at_is_left():
    for watched in ('conv', 'norm'):
        net = Net(lambda net, x: net.norm(net.conv(x)))
        net.get_submodule(watched).register_forward_hook(lambda *_: None)
        assert Fold(net).pairs == []
    net.register_forward_hook(lambda *_: None)
    assert Fold(Net(lambda net, x: net.norm(net.conv(x)))).pairs == [('conv', 'norm')]


def test_groups_biases_and_a_norm_without_affine_are_folded_exactly():
    net = Net(lambda net, x: net.norm(net.conv(x)))
    net.conv = nn.Conv2d(3, 6, 3, groups=3, stride=2, bias=False).eval()
    net.norm = trained(nn.Sequential(nn.BatchNorm2d(6)))[0]
    net.norm = nn.BatchNorm2d(6, affine=False).eval()
    net.norm.running_mean.uniform_(-1, 1)
    wanted = copy.deepcopy(net).double()(IMAGES.double())
    Fold(net).apply()
    assert isinstance(net.norm, nn.Identity)
    torch.testing.assert_close(net(IMAGES).double(), wanted, rtol=1e-5, atol=1e-6)


def test_memory_order_and_frozen_weights_stay():
    net = Net(lambda net, x: net.norm(net.conv(x))).requires_grad_(False).to(memory_format=torch.channels_last)
    Fold(net).apply()
    assert net.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert not net.conv.training


def test_what_cannot_be_traced_or_still_trains_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r'cannot be traced .*control flow'):
        Fold(Net(lambda net, x: net.norm(net.conv(x)) if x.sum() > 0 else x))
    with pytest.raises(ValueError, match='not in eval mode'):
        Fold(Net(lambda net, x: net.norm(net.conv(x))).train())
