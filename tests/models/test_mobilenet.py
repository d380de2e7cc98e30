import pytest
import torch
from plain_network import PlainNetwork, images
from torch.nn import functional as F

from wsld_plugin.models.mobilenet import CifarMobileNetV2, MobileNetV1

# MobileNetV1, table 1 of the paper: width after each depthwise separable convolution, and the stride of each
WIDTHS = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
# MobileNetV2, channels, blocks, stride: as each source's code has them
CRD = [(16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)]
TF_KD = [(16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 1), (320, 1, 1)]


def test_the_first_version_equals_the_papers_table_in_plain_operations():
    plain = PlainNetwork(MobileNetV1(0.25))
    x = plain.conv_norm(images(40), stride=2)
    for width, stride in zip(WIDTHS, STRIDES, strict=True):
        x = plain.conv_norm(x, stride=stride, groups=x.shape[1])
        x = plain.conv_norm(x)
        assert x.shape[1] == width // 4
    plain.assert_same(images(40), x)


def test_channels_of_another_width_are_multiples_of_8():
    with torch.device('meta'):
        maps = MobileNetV1(0.3, out_indices=range(5))(torch.zeros(2, 3, 32, 32))
    assert [map_.shape[1] for map_ in maps] == [24, 40, 80, 152, 304]


@pytest.mark.parametrize('frozen', [-1, 0, 2, 5])
def test_frozen_stages_do_not_train(frozen):
    model = MobileNetV1(.25, frozen_stages=frozen)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    if trained := [parameter for parameter in model.parameters() if parameter.requires_grad]:
        model.train()(torch.randn(4, 3, 32, 32))[-1].square().sum().backward()
        torch.optim.SGD(trained, lr=.1).step()
    for number, stage in enumerate(['conv1', 'layer1', 'layer2', 'layer3', 'layer4', 'layer5']):
        same = [torch.equal(before[key], value) for key, value in model.state_dict().items() if key.startswith(stage)]
        assert all(same) if number <= frozen else not any(same)


def test_norm_eval_keeps_the_running_statistics():
    model = MobileNetV1(.25, norm_eval=True).train()
    before = {key: value.clone() for key, value in model.named_buffers()}
    model(torch.randn(2, 3, 32, 32))
    assert all(torch.equal(before[key], value) for key, value in model.named_buffers())
    assert all(parameter.requires_grad for parameter in model.parameters())


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


def test_the_form_of_crd_equals_plain_operations():
    plain = PlainNetwork(CifarMobileNetV2(.3))
    x = plain.conv_norm(images(), stride=2)
    plain.assert_same(images(), inverted_residuals(plain, x, CRD, .3, F.relu, False))


def test_the_form_of_teacher_free_kd_equals_plain_operations():
    plain = PlainNetwork(CifarMobileNetV2(.5, variant='tf_kd'))
    x = plain.conv_norm(images(), F.relu6, padding=1, bias=True)
    assert x.shape[2:] == (18, 18)  # the padded 1×1 convolution adds a frame
    plain.assert_same(images(), inverted_residuals(plain, x, TF_KD, .5, F.relu6, True))


@pytest.mark.parametrize(('widen_factor', 'last'), [(.25, 1280), (1.5, 1920)])
def test_the_last_width_grows_but_does_not_shrink(widen_factor, last):
    with torch.device('meta'):
        assert CifarMobileNetV2(widen_factor).stages[-1][0].out_channels == last
