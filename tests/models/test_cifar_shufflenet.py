import pytest
import torch
from plain_network import PlainNetwork, images, shuffled
from torch.nn import functional as F

from wsld_plugin.models.cifar_shufflenet import CifarShuffleNetV1, CifarShuffleNetV2, ShuffleUnitV1


def unit_v1(plain, x, stride, first_groups, hidden):
    y = plain.conv_norm(x, groups=first_groups)
    assert y.shape[1] == hidden
    y = shuffled(y, first_groups)
    y = plain.conv_norm(y, stride=stride, groups=hidden)
    y = plain.conv_norm(y, None, groups=3)
    if stride == 1:
        return F.relu(x + y)
    # the mean of 3×3 pixels, zeros of the border counted
    pooled = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 2).unfold(3, 3, 2).mean((4, 5))
    return torch.cat([F.relu(y), pooled.clamp(min=0)], 1)


def test_the_first_version_equals_plain_operations():
    plain = PlainNetwork(CifarShuffleNetV1())
    x = plain.conv_norm(images())
    for stage, (width, units) in enumerate([(240, 4), (480, 8), (960, 4)]):
        x = unit_v1(plain, x, 2, 3 if stage else 1, (width - x.shape[1]) // 4)
        for _ in range(units - 1):
            x = unit_v1(plain, x, 1, 3, width // 4)
    plain.assert_same(images(), x)


@pytest.mark.parametrize('stride', [1, 2])
def test_a_unit_equals_plain_operations_also_on_negative_inputs(stride):
    plain = PlainNetwork(ShuffleUnitV1(24, 24 if stride == 1 else 60, stride, 3))
    x = torch.randn(2, 24, 7, 7, dtype=torch.float64)
    plain.assert_same(x, unit_v1(plain, x, stride, 3, 6 if stride == 1 else 9))


def unit_v2(plain, x, width, stride, bias, narrow):
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
    ('crd', .5, (48, 96, 192)), ('tf_kd', 1, (116, 232, 464))])
def test_the_second_version_equals_plain_operations(variant, widen_factor, widths):
    plain = PlainNetwork(CifarShuffleNetV2(widen_factor, variant))
    bias = variant == 'tf_kd'
    if variant == 'crd':
        assert plain.left[0].shape[2:] == (1, 1)
        x = plain.conv_norm(images())
    else:
        assert plain.left[0].shape[2:] == (3, 3)
        x = plain.conv_norm(images(), None, bias=True)  # no ReLU
        assert (x < 0).any()
    for width, units in zip(widths, (4, 8, 4), strict=True):
        for i in range(units):
            x = unit_v2(plain, x, width, 1 if i else 2, bias, variant == 'crd')
    plain.assert_same(images(), plain.conv_norm(x, bias=bias))
