import pytest
import torch
from plain_network import PlainNetwork, assert_same, images
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
    network = CifarGoogLeNet()
    plain = PlainNetwork(network)
    x = plain.conv_norm(images(8), bias=True)
    for stage, blocks in enumerate((2, 5, 2)):
        x = F.max_pool2d(x, 3, 2, 1) if stage else x
        for _ in range(blocks):
            x = inception(plain, x)
    assert_same(network(images(8))[0], x, plain)


def test_one_batchnorm_of_every_inception_has_its_channels_for_a_constant():
    constants = [module.eps for module in CifarGoogLeNet().modules()
                 if isinstance(module, nn.BatchNorm2d) and module.eps != 1e-5]
    assert constants == [32, 96, 48, 64, 64, 64, 128, 128, 128]


def test_dropout_of_maps_is_dropout_of_their_means():
    torch.manual_seed(0)
    with_dropout, without = CifarGoogLeNet(), CifarGoogLeNet(drop_rate=0)
    without.load_state_dict(with_dropout.state_dict())
    x = images(16).float()
    actual, expected = (network(x)[0].mean((2, 3)) for network in (with_dropout, without))
    alive = expected > 0
    kept = (actual / expected)[alive]
    assert ((kept - 1 / .6).abs() < 1e-4).logical_or(kept == 0).all()
    assert (kept == 0).float().mean().item() == pytest.approx(.4, abs=.05)
    assert torch.equal(with_dropout.eval()(x)[0], without.eval()(x)[0])
