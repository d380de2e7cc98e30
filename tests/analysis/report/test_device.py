import pytest
import torch
from mmengine.device import get_device

from wsld_plugin.analysis.report.device import find_device
from wsld_plugin.errors import ConfigError


def test_a_device_that_works_is_taken_and_by_default_the_best_one():
    assert find_device('cpu') == 'cpu'
    assert find_device(None) == get_device()


@pytest.mark.parametrize('name', ['cudaa', 'cpu 0', 'meta', 'hpu', f'cuda:{torch.cuda.device_count()}'])
def test_a_device_that_there_is_not_is_refused_with_those_that_there_are(name):
    with pytest.raises(ConfigError, match=rf'device={name!r} cannot be used here .*expected one of cpu\b') as caught:
        find_device(name)
    told = str(caught.value).split('expected')[1]
    assert all(f'cuda:{place}' in told for place in range(torch.cuda.device_count()))
