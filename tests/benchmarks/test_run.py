import json
from pathlib import Path

import pytest
import torch

from wsld_plugin.benchmarks.gate import RefusedVariant
from wsld_plugin.benchmarks.run import compare_configs, tell
from wsld_plugin.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'
PLAIN = str(CONFIGS / 'baselines/resnet18-w8_digits.py')
VIRTUAL = str(CONFIGS / 'tf_kd/tf-kd-reg_resnet18-w8_digits.py')


@pytest.mark.parametrize('clock', ['wall', pytest.param('cpu', marks=pytest.mark.skipif(
    torch.cuda.is_available(), reason='refused beside a CUDA device'))])
def test_every_config_is_timed_in_every_round_by_either_clock(clock, tmp_path, capsys):
    found = compare_configs([PLAIN, VIRTUAL], pairs=3, warmup=1, batch_size=4, clock=clock)
    assert [row['name'] for row in found['rows']] == ['resnet18-w8_digits', 'tf-kd-reg_resnet18-w8_digits']
    assert all(len(row['seconds']) == 3 and min(row['seconds']) > 0 for row in found['rows'])
    tell(found, tmp_path / 'new' / 'report.json')
    assert 'tf-kd-reg_resnet18-w8_digits' in capsys.readouterr().out
    assert json.loads((tmp_path / 'new' / 'report.json').read_text()) == json.loads(json.dumps(found))


def test_a_variant_with_a_nan_loss_is_refused_by_name():
    with pytest.raises(RefusedVariant, match='resnet18-w8_digits is not timed'):
        compare_configs([PLAIN], pairs=2, batch_size=4, options={'data_preprocessor.std': [0.0]})


def test_an_unknown_clock_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'wall'"):
        compare_configs([PLAIN], pairs=2, clock='walls')
