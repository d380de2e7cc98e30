import pytest
from plain_network import PlainNetwork, assert_same, images
from torch import nn
from torch.nn import functional as F

from wsld_plugin.models import CifarVGG


def max_pool(x):
    """The largest of each 2×2 pixels, by hand."""
    return x.unflatten(3, (-1, 2)).amax(4).unflatten(2, (-1, 2)).amax(3)


@pytest.mark.parametrize(('depth', 'blocks'), [(8, (1, 1, 1, 1, 1)), (13, (2, 2, 2, 2, 2))])
def test_the_network_pools_three_times_and_not_after_the_fourth_stage(depth, blocks):
    network = CifarVGG(depth, out_indices=range(5))
    plain = PlainNetwork(network)
    x, maps = images(), []
    for stage, count in enumerate(blocks):
        if stage in (1, 2, 3):
            x = max_pool(x)
        for _ in range(count):
            x = plain.conv_norm(x, bias=True)
        maps.append(x)
    for actual, expected in zip(network(images()), maps, strict=True):
        assert_same(actual, expected, plain)


@pytest.mark.parametrize('depth', [8, 19])
def test_depth_counts_three_linear_layers(depth):
    assert sum(isinstance(module, nn.Conv2d) for module in CifarVGG(depth).modules()) + 3 == depth


def test_the_pooled_head_sees_four_by_four_pixels_at_32():
    features, = CifarVGG(8).eval()(images(32).float())
    assert F.adaptive_avg_pool2d(features, 1).shape == (2, 512, 1, 1)
    assert features.shape[2:] == (4, 4)
