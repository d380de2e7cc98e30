import pytest
import torch
from plain_network import PlainNetwork, assert_same, images, shuffled

from wsld_plugin.models import CifarShuffleNetV2


def unit(plain, x, width, stride, bias, narrow):
    half = width // 2
    if stride == 1:
        first, second, hidden = x[:, :half], x[:, half:], half
    else:
        first, second, hidden = x, x, half if narrow else x.shape[1]
        first = plain.conv_norm(first, None, stride=2, groups=x.shape[1], bias=bias)
        first = plain.conv_norm(first, bias=bias)
    second = plain.conv_norm(second, bias=bias)
    second = plain.conv_norm(second, None, stride=stride, groups=hidden, bias=bias)
    second = plain.conv_norm(second, bias=bias)
    return shuffled(torch.cat([first, second], 1), 2)


@pytest.mark.parametrize(('variant', 'widen_factor', 'widths'), [
    ('crd', 1, (116, 232, 464)), ('crd', .5, (48, 96, 192)), ('tf_kd', 1, (116, 232, 464))])
def test_the_network_equals_plain_operations(variant, widen_factor, widths):
    network = CifarShuffleNetV2(widen_factor, variant)
    plain = PlainNetwork(network)
    bias = variant == 'tf_kd'
    if variant == 'crd':
        x = plain.conv_norm(images())
    else:
        x = plain.conv_norm(images(), None, bias=True)  # no ReLU
        assert (x < 0).any()
    for width, units in zip(widths, (4, 8, 4), strict=True):
        for i in range(units):
            x = unit(plain, x, width, 1 if i else 2, bias, variant == 'crd')
    assert_same(network(images())[0], plain.conv_norm(x, bias=bias), plain)


def test_a_stem_of_three_pixels_sees_its_neighbours_and_one_of_one_does_not():
    x = images().float()
    moved = x.clone()
    moved[:, :, 0, 0] += 1
    for variant, changed in [('crd', 1), ('tf_kd', 4)]:
        stem = CifarShuffleNetV2(variant=variant).stem.eval()[0]
        assert (stem(x) != stem(moved)).any(1)[0].sum() == changed
