from pathlib import Path

import pytest

from wsld_plugin.benchmarks.configs import read_training_config, train_steps
from wsld_plugin.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'
DIGITS = str(CONFIGS / 'baselines/resnet18-w8_digits.py')
KD = str(CONFIGS / 'kd/kd_resnet18-w32_resnet18-w8_digits.py')
CIFAR64 = str(CONFIGS / 'baselines/resnet8_1xb64_cifar100.py')
CIFAR128 = str(CONFIGS / 'baselines/mobilenet-v2_1xb128_cifar100.py')


def test_all_steps_have_one_batch_size_and_one_image_size():
    steps, batch_size, side = train_steps([DIGITS, KD, DIGITS], batch_size=6)
    assert (batch_size, side) == (6, 8)
    assert [step.name for step in steps] == ['resnet18-w8_digits', 'kd_resnet18-w32_resnet18-w8_digits',
                                             'resnet18-w8_digits (2)']
    for step in steps:
        assert [image.shape for image in step.batch['inputs']] == [(1, 8, 8)] * 6


def test_sizes_are_the_configs_own_where_none_are_given():
    (step,), batch_size, side = train_steps([CIFAR64])
    assert (batch_size, side) == (64, 32)
    assert step.batch['inputs'].shape == (64, 3, 32, 32)


def test_sizes_that_differ_are_refused_with_the_option_that_makes_them_equal():
    with pytest.raises(ConfigError, match=r'cifar100 has 64, mobilenet-v2_.* has 128\. Give --batch-size'):
        train_steps([CIFAR64, CIFAR128])
    with pytest.raises(ConfigError, match=r'w8_digits has 8, .*cifar100 has 32\. Give --image-size'):
        train_steps([DIGITS, CIFAR64], batch_size=2)


@pytest.mark.parametrize('key', ['compile', 'efficient_conv_bn_eval'])
def test_what_is_not_built_is_not_silently_left_out(key):
    with pytest.raises(ConfigError, match=f'{key}=True is not built.*--cfg-options {key}=None'):
        read_training_config(DIGITS, {key: True})
    read_training_config(DIGITS, {key: None})


def test_a_config_that_does_not_train_is_refused():
    with pytest.raises(ConfigError, match='has no optim_wrapper: expected a config'):
        read_training_config(DIGITS, {'optim_wrapper': None})


def test_a_slip_in_an_option_is_named():
    with pytest.raises(ConfigError, match="'hard_weight'"):
        read_training_config(KD, {'model.hard_wieght': 1.0})


def test_data_on_the_device_are_not_measured_as_a_step():
    with pytest.raises(ConfigError, match=r'accelerate\.resident is a matter of the data.*benchmark\.py train'):
        read_training_config(DIGITS, {'accelerate.resident': True})


def test_a_cache_is_not_made_of_random_images():
    with pytest.raises(ConfigError, match=r'come from a cache.*benchmark\.py step'):
        read_training_config(str(CONFIGS / 'wsld/wsld_cached_resnet18-w32_resnet18-w8_digits.py'))
