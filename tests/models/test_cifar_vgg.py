import pytest
import torch
from plain_network import PlainNetwork, images
from torch import nn

from wsld_plugin.models import CifarVGG


def max_pool(x):
    """The largest of each 2×2 pixels, by hand."""
    return x.unflatten(3, (-1, 2)).amax(4).unflatten(2, (-1, 2)).amax(3)


@pytest.mark.parametrize(('depth', 'blocks'), [(8, (1, 1, 1, 1, 1)), (13, (2, 2, 2, 2, 2))])
def test_the_network_pools_three_times_and_not_after_the_fourth_stage(depth, blocks):
    plain = PlainNetwork(CifarVGG(depth, out_indices=range(5)))
    x, maps = images(8), []
    for stage, count in enumerate(blocks):
        if stage in (1, 2, 3):
            x = max_pool(x)
        for _ in range(count):
            x = plain.conv_norm(x, bias=True)
        maps.append(x)
    plain.assert_same(images(8), *maps)


@pytest.mark.parametrize('depth', [8, 19])
def test_depth_counts_three_linear_layers(depth):
    with torch.device('meta'):
        assert sum(isinstance(module, nn.Conv2d) for module in CifarVGG(depth).modules()) + 3 == depth
