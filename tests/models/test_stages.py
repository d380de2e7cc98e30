import pytest
import torch
from torch import nn

from wsld_plugin.errors import ConfigError
from wsld_plugin.models.stages import StagedBackbone, blocks_per_stage, conv_bn


def test_stages_run_in_order_and_those_asked_for_are_returned():
    scale = [nn.Conv2d(1, 1, 1, bias=False) for _ in range(4)]
    for factor, module in zip((2., 3., 5., 7.), scale, strict=True):
        nn.init.constant_(module.weight, factor)
    network = StagedBackbone(scale[0], scale[1:], out_indices=[0, 2])
    assert [features.item() for features in network(torch.ones(1, 1, 1, 1))] == [6, 210]


def test_setting_the_mode_returns_the_network():
    network = StagedBackbone(nn.Identity(), [nn.Dropout(.5)], out_indices=[0])
    assert network.eval() is network
    assert not network.stages[0].training


@pytest.mark.parametrize('kernel_size', [1, 3])
def test_a_convolution_keeps_the_size_by_default(kernel_size):
    assert conv_bn(2, 4, kernel_size)(torch.zeros(2, 2, 9, 9)).shape == (2, 4, 9, 9)
    assert conv_bn(2, 4, kernel_size, padding=0)(torch.zeros(2, 2, 9, 9)).shape[-1] == 10 - kernel_size


@pytest.mark.parametrize(('per_block', 'others'), [(6, 4), (6, 2), (9, 2)])
def test_depths_are_a_multiple_and_a_rest(per_block, others):
    for n in range(1, 9):
        assert blocks_per_stage(per_block * n + others, per_block, others) == n
        with pytest.raises(ConfigError, match=rf'The nearest is {per_block * n + others}\.'):
            blocks_per_stage(per_block * n + others + 1, per_block, others)


@pytest.mark.parametrize('depth', [None, [16]])
def test_a_depth_that_is_not_a_number_is_refused(depth):
    with pytest.raises(ConfigError, match=r'expected 6n \+ 4: 10, 16, 22 and so on\.$'):
        blocks_per_stage(depth, 6, 4)
