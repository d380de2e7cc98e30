import pytest
import torch
from plain_network import PlainNetwork, images
from torch import nn
from torch.nn import functional as F

from wsld_plugin.models import CifarGoogLeNet


def inception(plain, x):
    one = plain.conv_norm(x, bias=True)
    three = plain.conv_norm(plain.conv_norm(x, bias=True), bias=True)
    five = plain.conv(plain.conv_norm(x, bias=True), bias=True)
    five = F.relu(plain.norm(five, eps=five.shape[1]))  # the source's oddity
    five = plain.conv_norm(five, bias=True)
    pooled = plain.conv_norm(F.max_pool2d(x, 3, 1, 1), bias=True)
    return torch.cat([one, three, five, pooled], 1)


def test_the_network_equals_plain_operations():
    plain = PlainNetwork(CifarGoogLeNet())
    x = plain.conv_norm(images(8), bias=True)
    for stage, blocks in enumerate((2, 5, 2)):
        x = F.max_pool2d(x, 3, 2, 1) if stage else x
        for _ in range(blocks):
            x = inception(plain, x)
    plain.assert_same(images(8), x)


def test_one_batchnorm_of_every_inception_has_its_channels_for_a_constant():
    with torch.device('meta'):
        constants = [module.eps for module in CifarGoogLeNet().modules()
                     if isinstance(module, nn.BatchNorm2d) and module.eps != 1e-5]
    assert constants == [32, 96, 48, 64, 64, 64, 128, 128, 128]


def test_dropout_of_maps_is_dropout_of_their_means():
    torch.manual_seed(0)
    with torch.device('meta'):
        network = CifarGoogLeNet()
    means = torch.rand(2, 1024, 1, 1).add(.1)
    kept = (network.stages[-1][-1](means.expand(-1, -1, 8, 8)).mean((2, 3)) / means.mean((2, 3)))
    assert ((kept - 1 / .6).abs() < 1e-4).logical_or(kept == 0).all()
    assert (kept == 0).float().mean().item() == pytest.approx(.4, abs=.05)
    assert torch.equal(network.eval().stages[-1][-1](means), means)
