import pytest
import torch
from plain_network import PlainNetwork, assert_same, images
from torch import nn

from wsld_plugin.errors import ConfigError
from wsld_plugin.models.mobilenet_v1 import MobileNetV1
from wsld_plugin.registry import MODELS

# Table 1 of the paper: width after each of the 13 depthwise separable convolutions, and the stride of each.
WIDTHS = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def counted_by_hand(alpha: float, classes: int = 1000) -> int:
    """Weights of the convolutions, two numbers a channel for each BatchNorm, and the classifier."""
    width = int(32 * alpha)
    total = 3 * 9 * width + 2 * width
    for channels in WIDTHS:
        channels = int(channels * alpha)
        total += 9 * width + 2 * width + width * channels + 2 * channels
        width = channels
    return total + width * classes + classes


def test_it_has_4231976_parameters_with_1000_classes():
    assert count(MobileNetV1()) + count(nn.Linear(1024, 1000)) == 4_231_976


@pytest.mark.parametrize('alpha', [0.75, 0.25])
def test_parameters_are_those_of_the_papers_table(alpha):
    assert count(MobileNetV1(alpha)) + count(nn.Linear(int(1024 * alpha), 1000)) == counted_by_hand(alpha)


def test_channels_of_another_width_are_multiples_of_8():
    outs = MobileNetV1(0.3, out_indices=range(5)).eval()(torch.zeros(1, 3, 32, 32))
    assert all(out.size(1) % 8 == 0 for out in outs)


@pytest.mark.parametrize(('pixels', 'sides'), [(224, [112, 56, 28, 14, 7]), (32, [16, 8, 4, 2, 1]),
                                               (33, [17, 9, 5, 3, 2])])
def test_layers_return_the_papers_resolutions(pixels, sides):
    with torch.no_grad():
        outs = MobileNetV1(0.25, out_indices=range(5)).eval()(torch.zeros(2, 3, pixels, pixels))
    assert [tuple(out.shape) for out in outs] == [
        (2, width // 4, side, side) for width, side in zip([64, 128, 256, 512, 1024], sides, strict=True)]


def test_out_indices_choose_the_layers():
    model = MobileNetV1(0.25, out_indices=(1, 4)).eval()
    x = torch.randn(1, 3, 32, 32)
    every = MobileNetV1(0.25, out_indices=range(5)).eval()
    every.load_state_dict(model.state_dict())
    outs, expected = model(x), every(x)
    assert len(outs) == 2
    torch.testing.assert_close(outs, (expected[1], expected[4]), rtol=0, atol=0)


def test_the_network_equals_the_papers_table_in_plain_operations():
    network = MobileNetV1(0.25)
    plain = PlainNetwork(network)
    x = plain.conv_norm(images(40), stride=2)
    for stride in STRIDES:
        x = plain.conv_norm(x, stride=stride, groups=x.shape[1])
        x = plain.conv_norm(x)
    assert_same(network(images(40))[0], x, plain)


@pytest.mark.parametrize('frozen', [-1, 0, 5])
def test_frozen_stages_do_not_train(frozen):
    torch.manual_seed(0)
    model = MobileNetV1(0.25, frozen_stages=frozen)
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if trained:
        optimizer = torch.optim.SGD(trained, lr=0.1)
        model(torch.randn(4, 3, 32, 32))[-1].square().sum().backward()
        optimizer.step()
    stages = ['conv1', 'layer1', 'layer2', 'layer3', 'layer4', 'layer5']
    for number, stage in enumerate(stages):
        same = [torch.equal(before[key], value) for key, value in model.state_dict().items()
                if key.startswith(stage)]
        assert all(same) if number <= frozen else not any(same)


def test_stages_are_frozen_before_an_optimizer_sees_them():
    model = MobileNetV1(0.25, frozen_stages=5)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_norm_eval_keeps_the_running_statistics():
    model = MobileNetV1(0.25, norm_eval=True)
    model.train()
    before = {key: value.clone() for key, value in model.named_buffers()}
    model(torch.randn(2, 3, 32, 32))
    assert all(torch.equal(before[key], value) for key, value in model.named_buffers())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_configs_of_convolution_norm_and_activation_reach_every_block():
    model = MobileNetV1(0.25, norm_cfg=dict(type='GN', num_groups=4), act_cfg=dict(type='ReLU6'))
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(nn.GroupNorm) == kinds.count(nn.ReLU6) == 27
    assert nn.BatchNorm2d not in kinds
    assert nn.ReLU not in kinds


def test_the_registry_builds_it_by_name():
    assert isinstance(MODELS.build(dict(type='wsld_plugin.MobileNetV1', widen_factor=0.25)), MobileNetV1)


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(widen_factor=0), r'widen_factor=0, expected a finite number in \(0, inf\)'),
    (dict(out_indices=(5,)), r'out_indices=\(5,\), expected layers 0 to 4'),
    (dict(frozen_stages=6), r'frozen_stages=6, expected an integer from -1 to 5'),
])
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        MobileNetV1(**arguments)
