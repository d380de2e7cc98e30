import pytest
import torch
from mmpretrain.models.backbones.resnet import BasicBlock
from plain_network import PlainNetwork, images
from torch import nn
from torch.nn import functional as F

from wsld_plugin.models.cifar_resnet import CifarDenseNet, CifarResNet, CifarResNeXt, PreActBlock, WideResNet


def test_a_resnet_equals_plain_operations():
    network = CifarResNet(14, stem_channels=8, base_channels=12, out_indices=(0, 1, 2))
    plain = PlainNetwork(network)
    x, maps = plain.conv_norm(images()), []
    for stage in range(3):
        for block in range(2):
            stride = 2 if stage and not block else 1
            y = plain.conv_norm(plain.conv_norm(x, stride=stride), None)
            x = F.relu(y + (x if block else plain.conv_norm(x, None, stride=stride)))
        maps.append(x)
    plain.assert_same(images(), *maps)


def test_a_resnext_equals_plain_operations():
    network = CifarResNeXt(20, groups=2, width_per_group=4)
    plain = PlainNetwork(network)
    x = plain.conv_norm(images(8))
    for stage in range(3):
        for block in range(2):
            stride = 2 if stage and not block else 1
            y = plain.conv_norm(x)
            assert y.shape[1] == 2 * 4 * 2 ** stage
            y = plain.conv_norm(plain.conv_norm(y, stride=stride, groups=2), None)
            x = F.relu(y + (x if block else plain.conv_norm(x, None, stride=stride)))
    plain.assert_same(images(8), x)


@pytest.mark.parametrize(('depth', 'widen_factor'), [(10, 1), (16, 2)])
def test_a_wide_resnet_equals_plain_operations(depth, widen_factor):
    network = WideResNet(depth, widen_factor, out_indices=(0, 1, 2))
    plain = PlainNetwork(network)
    x, width, maps = plain.conv(images()), 16, []
    for stage in range(3):
        for block in range((depth - 4) // 6):
            out_width = 16 * 2 ** stage * widen_factor
            stride = 2 if stage and not block else 1
            active = F.relu(plain.norm(x))
            y = plain.conv(F.relu(plain.norm(plain.conv(active, stride))))
            # the width alone decides: WRN-d-1 adds the raw input in its very first block
            x = y + (x if width == out_width else plain.conv(active, stride))
            width = out_width
        maps.append(x)
    plain.assert_same(images(), *maps[:2], F.relu(plain.norm(x)))


def test_dropout_of_a_wide_resnet_acts_in_training_alone():
    torch.manual_seed(0)
    with_dropout, without = PreActBlock(4, 4, 1, .5), PreActBlock(4, 4, 1, 0.)
    without.load_state_dict(with_dropout.state_dict())
    x = torch.randn(2, 4, 8, 8)
    assert not torch.equal(with_dropout(x), without(x))
    without.load_state_dict(with_dropout.state_dict())
    assert torch.equal(with_dropout.eval()(x), without.eval()(x))


def test_a_densenet_equals_plain_operations():
    network = CifarDenseNet(121)
    # mmpretrain keeps the blocks and the transitions in two lists: put their weights in the order of use
    ordered = [name for part in ['stem', *(f'{part}.{i}' for i in range(4) for part in ('stages', 'transitions'))]
               for name in network.state_dict() if name.startswith(part) and 'num_batches' not in name]
    plain = PlainNetwork(network)
    assert len(ordered) == len(plain.left)
    plain.left = [network.state_dict()[name] for name in ordered]

    x = plain.conv(images(8))
    for stage, layers in enumerate((6, 12, 24, 16)):
        for _ in range(layers):
            y = plain.conv(F.relu(plain.norm(x)))
            assert y.shape[1] == 4 * 32
            x = torch.cat([x, plain.conv(F.relu(plain.norm(y)))], 1)
        if stage < 3:
            x = plain.conv(plain.norm(x))  # no ReLU between the two
            x = x.unflatten(3, (-1, 2)).mean(4).unflatten(2, (-1, 2)).mean(3)
    plain.assert_same(images(8), F.relu(plain.norm(x)))


def test_depth_counts_the_layers_with_weights():
    for depth in (8, 110):  # the stem, two in a block, the classifier
        assert sum(isinstance(module, BasicBlock) for module in CifarResNet(depth).modules()) * 2 + 2 == depth
    convs = [name for name, module in CifarResNeXt(29, 2, 4).named_modules() if isinstance(module, nn.Conv2d)]
    assert sum('downsample' not in name for name in convs) + 1 == 29
    for depth in (10, 40):  # the stem, two in a block, the shortcut of each stage
        assert sum(isinstance(module, nn.Conv2d) for module in WideResNet(depth, 2).modules()) == depth
