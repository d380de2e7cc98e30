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


def test_depths_are_a_multiple_and_a_rest():
    for n in range(1, 9):
        assert blocks_per_stage(6 * n + 4, 6, 4) == n
        with pytest.raises(ConfigError, match=rf'The nearest is {6 * n + 4}\.'):
            blocks_per_stage(6 * n + 5, 6, 4)
    with pytest.raises(ConfigError, match=r'The nearest is 10\.'):
        blocks_per_stage(4, 6, 4)


def test_a_depth_that_is_not_a_number_is_rejected():
    with pytest.raises(ConfigError, match=r'expected 6n \+ 4: 10, 16, 22 and so on\.$'):
        blocks_per_stage(None, 6, 4)
