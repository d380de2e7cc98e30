import pytest
import torch
from plain_network import PlainNetwork, assert_same, images, shuffled
from torch.nn import functional as F

from wsld_plugin.models import CifarShuffleNetV1
from wsld_plugin.models.cifar_shufflenet_v1 import ShuffleUnit, channel_shuffle


def unit(plain, x, stride, first_groups, hidden):
    y = plain.conv_norm(x, groups=first_groups)
    assert y.shape[1] == hidden
    y = shuffled(y, first_groups)
    y = plain.conv_norm(y, stride=stride, groups=hidden)
    y = plain.conv_norm(y, None, groups=3)
    if stride == 1:
        return F.relu(x + y)
    # the mean of 3×3 pixels, zeros of the border counted
    pooled = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 2).unfold(3, 3, 2).mean((4, 5))
    return torch.cat([F.relu(y), pooled.clamp(min=0)], 1)


def test_the_network_equals_plain_operations():
    network = CifarShuffleNetV1()
    plain = PlainNetwork(network)
    x = plain.conv_norm(images())
    for stage, (width, units) in enumerate([(240, 4), (480, 8), (960, 4)]):
        x = unit(plain, x, 2, 3 if stage else 1, (width - x.shape[1]) // 4)
        for _ in range(units - 1):
            x = unit(plain, x, 1, 3, width // 4)
    assert_same(network(images())[0], x, plain)


@pytest.mark.parametrize('stride', [1, 2])
def test_a_unit_equals_plain_operations_also_on_negative_inputs(stride):
    block = ShuffleUnit(24, 24 if stride == 1 else 60, stride, 3)
    plain = PlainNetwork(block)
    x = torch.randn(2, 24, 7, 7, dtype=torch.float64)
    assert_same(block(x), unit(plain, x, stride, 3, 6 if stride == 1 else 9), plain)


@pytest.mark.parametrize(('channels', 'groups'), [(6, 1), (6, 2), (12, 3), (12, 12)])
def test_a_shuffle_is_a_permutation_that_the_other_factor_undoes(channels, groups):
    x = torch.arange(channels).view(1, -1, 1, 1).float()
    once = channel_shuffle(x, groups)
    torch.testing.assert_close(once, shuffled(x, groups), rtol=0, atol=0)
    assert sorted(once.flatten().tolist()) == list(range(channels))
    assert torch.equal(channel_shuffle(once, channels // groups), x)
