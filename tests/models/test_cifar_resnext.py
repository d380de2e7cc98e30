import pytest
from plain_network import PlainNetwork, assert_same, images
from torch import nn
from torch.nn import functional as F

from wsld_plugin.models import CifarResNeXt


@pytest.mark.parametrize(('depth', 'groups', 'width_per_group'), [(11, 8, 64), (20, 2, 4)])
def test_the_network_equals_plain_operations(depth, groups, width_per_group):
    network = CifarResNeXt(depth, groups, width_per_group)
    plain = PlainNetwork(network)
    x = plain.conv_norm(images(8))
    for stage in range(3):
        for block in range((depth - 2) // 9):
            stride = 2 if stage and not block else 1
            y = plain.conv_norm(x)
            assert y.shape[1] == groups * width_per_group * 2 ** stage
            y = plain.conv_norm(y, stride=stride, groups=groups)
            y = plain.conv_norm(y, None)
            x = F.relu(y + (x if block else plain.conv_norm(x, None, stride=stride)))
    assert_same(network(images(8))[0], x, plain)


def test_depth_29_counts_the_convolutions_and_the_classifier():
    convs = [name for name, module in CifarResNeXt(29, 2, 4).named_modules() if isinstance(module, nn.Conv2d)]
    assert sum('downsample' not in name for name in convs) + 1 == 29
