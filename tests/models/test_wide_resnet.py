import pytest
import torch
from plain_network import PlainNetwork, assert_same, images
from torch import nn
from torch.nn import functional as F

from wsld_plugin.models import WideResNet
from wsld_plugin.models.wide_resnet import PreActBlock


@pytest.mark.parametrize(('depth', 'widen_factor'), [(10, 1), (16, 2)])
def test_the_network_equals_plain_operations(depth, widen_factor):
    network = WideResNet(depth, widen_factor, out_indices=(0, 1, 2))
    plain = PlainNetwork(network)
    x, width, maps = plain.conv(images()), 16, []
    for stage in range(3):
        for block in range((depth - 4) // 6):
            out_width = 16 * 2 ** stage * widen_factor
            stride = 2 if stage and not block else 1
            active = F.relu(plain.norm(x))
            y = F.relu(plain.norm(plain.conv(active, stride)))
            y = plain.conv(y)
            # the width alone decides: WRN-d-1 adds the raw input in its very first block
            x = y + (x if width == out_width else plain.conv(active, stride))
            width = out_width
        maps.append(x)
    maps[-1] = F.relu(plain.norm(x))
    for actual, expected in zip(network(images()), maps, strict=True):
        assert_same(actual, expected, plain)


@pytest.mark.parametrize('depth', [10, 40])
def test_depth_counts_the_convolutions(depth):  # the stem, two in a block, the shortcut of each stage
    assert sum(isinstance(module, nn.Conv2d) for module in WideResNet(depth, 2).modules()) == depth


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    with_dropout, without = PreActBlock(4, 4, 1, .5), PreActBlock(4, 4, 1, 0.)
    without.load_state_dict(with_dropout.state_dict())
    x = torch.randn(2, 4, 8, 8)
    assert not torch.equal(with_dropout(x), without(x))
    without.load_state_dict(with_dropout.state_dict())
    assert torch.equal(with_dropout.eval()(x), without.eval()(x))
