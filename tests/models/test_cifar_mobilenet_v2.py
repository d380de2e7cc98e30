import pytest
from plain_network import PlainNetwork, assert_same, images
from torch.nn import functional as F

from wsld_plugin.models import CifarMobileNetV2

# channels, blocks, stride: as each source's code has them
CRD = [(16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)]
TF_KD = [(16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 1), (320, 1, 1)]


def inverted_residuals(plain, x, table, widen_factor, act, bias):
    for row, (channels, blocks, stride) in enumerate(table):
        for block in range(blocks):
            now = 1 if block else stride
            hidden = x.shape[1] * (6 if row else 1)
            y = plain.conv_norm(x, act, bias=bias)
            y = plain.conv_norm(y, act, stride=now, groups=hidden, bias=bias)
            y = plain.conv_norm(y, None, bias=bias)
            assert y.shape[1] == int(channels * widen_factor)
            x = x + y if now == 1 and x.shape == y.shape else y
    return plain.conv_norm(x, act, bias=bias)


@pytest.mark.parametrize('widen_factor', [.5, .3])
def test_the_form_of_crd_equals_plain_operations(widen_factor):
    network = CifarMobileNetV2(widen_factor)
    plain = PlainNetwork(network)
    x = plain.conv_norm(images(), stride=2)
    x = inverted_residuals(plain, x, CRD, widen_factor, F.relu, False)
    assert_same(network(images())[0], x, plain)


def test_the_form_of_teacher_free_kd_equals_plain_operations():
    network = CifarMobileNetV2(variant='tf_kd')
    plain = PlainNetwork(network)
    x = plain.conv_norm(images(), F.relu6, padding=1, bias=True)
    assert x.shape[2:] == (18, 18)  # the padded 1×1 convolution adds a frame
    x = inverted_residuals(plain, x, TF_KD, 1., F.relu6, True)
    assert_same(network(images())[0], x, plain)


@pytest.mark.parametrize(('widen_factor', 'last'), [(.25, 1280), (1., 1280), (1.5, 1920)])
def test_the_last_width_grows_but_does_not_shrink(widen_factor, last):
    assert CifarMobileNetV2(widen_factor).stages[-1][0].out_channels == last
