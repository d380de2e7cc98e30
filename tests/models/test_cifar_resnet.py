import pytest
import torch
from mmpretrain.models.backbones.resnet import BasicBlock
from torch.nn import functional as F

from wsld_plugin.errors import ConfigError
from wsld_plugin.models.cifar_resnet import DEPTHS, CifarResNet


def test_three_stages_halve_the_size_and_double_the_channels():
    network = CifarResNet(8, out_indices=(0, 1, 2))
    shapes = [tuple(features.shape) for features in network(torch.zeros(2, 3, 32, 32))]
    assert shapes == [(2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8)]


def test_the_function_is_that_of_plain_residual_blocks():
    torch.manual_seed(0)
    network = CifarResNet(14, stem_channels=8, base_channels=12).double()
    network.eval()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.uniform_(.5, 1.5) if 'var' in name else value.normal_(std=.3)
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    state = network.state_dict()

    def conv_bn(x, conv, bn, stride=1):
        weight = state[f'{conv}.weight']
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        parts = (state[f'{bn}.{part}'] for part in ('running_mean', 'running_var', 'weight', 'bias'))
        return F.batch_norm(x, *parts)

    x = F.relu(conv_bn(images, 'conv1', 'bn1'))
    for stage in (1, 2, 3):
        for block in (0, 1):
            here, stride = f'layer{stage}.{block}', 2 if stage > 1 and block == 0 else 1
            y = F.relu(conv_bn(x, f'{here}.conv1', f'{here}.bn1', stride))
            y = conv_bn(y, f'{here}.conv2', f'{here}.bn2')
            if block == 0:
                x = conv_bn(x, f'{here}.downsample.0', f'{here}.downsample.1', stride)
            x = F.relu(x + y)
    torch.testing.assert_close(network(images)[0], x)


@pytest.mark.parametrize('depth', [DEPTHS[0], DEPTHS[-1]])
def test_depth_counts_the_layers_with_weights_on_the_main_path(depth):
    blocks = sum(isinstance(module, BasicBlock) for module in CifarResNet(depth).modules())
    assert 1 + 2 * blocks + 1 == depth  # the stem, two in a block, the classifier


def test_another_depth_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match=r'depth=21, expected one of 8, 14, 20'):
        CifarResNet(21)
