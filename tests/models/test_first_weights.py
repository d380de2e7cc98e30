"""First weights of the networks of the tables, against the rules of the code that the tables come from.

A layer's n weights with standard deviation σ have, within 5 standard errors, the mean 0 and the spread σ; all of them
lie within the rule's range, and the largest is near its end.
"""
import copy
import math
from pathlib import Path

import torch
from mmengine.registry import MODELS
from torch import nn

from wsld_plugin.config.load import load_config

CONFIGS = Path(__file__).parents[2] / 'configs'


def fan_out(weight):
    """He et al.: normal, variance 2 / (outputs · kernel area)."""
    return 'normal', math.sqrt(2 / (weight.shape[0] * weight[0, 0].numel()))


def default(weight):
    """PyTorch's own: uniform in ±1/√(inputs · kernel area)."""
    return 'uniform', 1 / math.sqrt(weight[0].numel())


def fan_in(weight):
    return 'normal', math.sqrt(2 / weight.shape[1])


def hundredth(weight):
    return 'normal', .01


# network in configs/baselines: rule of its convolutions, of its classifier, whether its biases are 0
CRD_RESNET = fan_out, default, False
CIFAR = {
    **{f'resnet{name}_1xb64': CRD_RESNET for name in ('8', '20', '32', '56', '110', '8x4', '32x4', '50')},
    **{f'wrn-{name}_1xb64': (fan_out, default, True) for name in ('16-2', '40-1', '40-2')},
    **{f'{name}_1xb64': (fan_out, hundredth, True) for name in ('vgg8', 'vgg13', 'mobilenet-v2-half')},
    **{f'shufflenet-v{version}_1xb64': (default, default, False) for version in (1, 2)},
    **dict.fromkeys((
        'resnet18_1xb128', 'resnet18-1e_1xb128', 'resnet50-200e_1xb64', 'resnet50-50e_1xb64', 'mobilenet-v2_1xb128',
        'shufflenet-v2_1xb128', 'googlenet_1xb64', 'densenet121_1xb128'), (default, default, False)),
    'resnext29_1xb64': (fan_out, fan_in, True),
}
TORCHVISION = fan_out, default, False
IMAGENET = {
    'baselines/resnet18_8xb64': TORCHVISION, 'baselines/resnet50_8xb64': TORCHVISION,
    'tf_kd/lsr_resnet18_8xb64': TORCHVISION, 'tf_kd/tf-kd-reg_resnet50_8xb64': TORCHVISION,
    'wsld/wsld_resnet34_resnet18_official_8xb32': TORCHVISION,
    'baselines/mobilenet-v1_official_8xb32': (default, default, False),
    'wsld/wsld_resnet50_mobilenet-v1_official_8xb32': (default, default, False),
    # MMRazor's protocol: mmpretrain's rules
    'baselines/mobilenet-v1_8xb32': (fan_out, hundredth, True),
}
RULES = {**{f'baselines/{name}_cifar100.py': rules for name, rules in CIFAR.items()},
         **{f'{name}_in1k.py': rules for name, rules in IMAGENET.items()}}


def model_of(name):
    """A config's network, or its student."""
    model = load_config(CONFIGS / name, teacher=False).model
    return model.get('architecture', model).to_dict()


def network(model):
    """A network with the weights that mmengine's Runner would start from."""
    torch.manual_seed(0)
    network = MODELS.build(dict({'_scope_': 'mmpretrain'}, **copy.deepcopy(model)))
    network.init_weights()
    return network


def initialisation(model):
    """What decides about the first weights, beside the shapes."""
    parts = [(name, part) for name, part in [('', model), *model.items()] if isinstance(part, dict)]
    keys = {'type', 'variant', 'init_cfg', 'zero_init_residual'}
    return repr([(name, {key: part[key] for key in sorted(keys & part.keys())})
                 for name, part in parts if name not in ('data_preprocessor', 'train_cfg')])


def assert_drawn(values, kind, size, where):
    """`size`: the standard deviation of a normal distribution, the bound of a uniform one."""
    values = values.detach().double().flatten()
    n, std = len(values), size if kind == 'normal' else size / math.sqrt(3)
    # standard errors of the sample's mean and spread; a uniform distribution's fourth moment is 9/5, a normal one's 3
    kurtosis = 3 if kind == 'normal' else 9 / 5
    assert abs(values.mean().item()) < 5 * std / math.sqrt(n), where
    spread = values.square().mean().sqrt().item()
    assert abs(spread / std - 1) < 5 * math.sqrt((kurtosis - 1) / 4 / n), where
    largest = values.abs().max().item()
    if kind == 'uniform':  # the largest of n is below 1 - 20/n of the bound once in e^20 samples
        assert 1 - 20 / n < largest / size <= 1 + 1e-6, where
    elif n > 1000:  # a uniform distribution of this spread ends at √3σ
        assert largest / std > 2, where


def assert_initialised(model, convolution, classifier, no_bias):
    counts = dict.fromkeys([nn.Conv2d, nn.Linear, nn.BatchNorm2d], 0)
    for where, module in network(model).named_modules():
        if type(module) not in counts:
            assert not list(module.parameters(recurse=False)), where
            continue
        counts[type(module)] += 1
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all(), where
            assert not module.bias.any(), where
            continue
        rule = convolution if isinstance(module, nn.Conv2d) else classifier
        assert_drawn(module.weight, *rule(module.weight), where)
        if module.bias is not None and no_bias:
            assert not module.bias.any(), where
        elif module.bias is not None:
            assert_drawn(module.bias, *default(module.weight), where)
    assert counts[nn.Linear] == 1
    assert min(counts.values()) > 0


def test_weights_start_as_in_the_code_of_the_tables():
    """The first network of each kind is built; the others have its rule and its config of the first weights."""
    rules = {}
    for name, rule in RULES.items():
        model = model_of(name)
        kind = initialisation(model)
        if kind not in rules:
            assert_initialised(model, *rule)
        assert rules.setdefault(kind, rule) == rule, name


def test_every_network_of_the_cifar100_tables_has_a_rule():
    names = {f'baselines/{path.name}' for path in (CONFIGS / 'baselines').glob('*_cifar100.py')}
    assert names == {name for name in RULES if 'cifar100' in name}


def test_the_last_batchnorm_of_a_block_starts_at_zero_in_mmrazors_protocol():
    resnet18 = network(model_of('baselines/resnet18_8xb32_in1k.py'))
    blocks = [module for module in resnet18.modules() if hasattr(module, 'norm2')]
    assert len(blocks) == 8
    assert not any(block.norm2.weight.any() for block in blocks)
