import json

import numpy as np
from processes import tool

PLAIN = 'configs/baselines/resnet18-w8_digits.py'
KD = 'configs/kd/kd_resnet18-w32_resnet18-w8_digits.py'


def test_two_configs_give_a_table_and_every_figure_as_json(tmp_path):
    out = tmp_path / 'report.json'
    done = tool('benchmark.py', 'configs', PLAIN, KD, '--pairs', 2, '--warmup', 1, '--batch-size', 8, '--threads', 1,
                '--out', out, '--cfg-options', 'optim_wrapper.optimizer.momentum=0.5')
    found = json.loads(out.read_text())
    assert (found['benchmark'], found['batch_size'], found['image_size'], found['pairs']) == ('configs', 8, 8, 2)
    assert found['threads'] == 1
    assert found['command'].startswith(f'python tools/benchmark.py configs {PLAIN} {KD} --pairs 2')
    seconds = {row['name']: np.array(row['seconds']) for row in found['rows']}
    assert list(seconds) == ['resnet18-w8_digits', 'kd_resnet18-w32_resnet18-w8_digits']
    for row in found['rows']:
        ratios = seconds[row['name']] / seconds['resnet18-w8_digits']
        np.testing.assert_allclose(row['ratio'], np.quantile(ratios, [.25, .5, .75]))
        np.testing.assert_allclose(row['items_per_second'], 8 / np.median(seconds[row['name']]))
        assert f'| {row["name"]} ' in done.stdout
    assert 'mmengine - INFO' not in done.stdout + done.stderr


def test_one_round_is_refused_because_it_has_no_quartiles():
    done = tool('benchmark.py', 'configs', PLAIN, '--pairs', 1, check=False)
    assert done.returncode == 2
    assert '--pairs must be at least 2' in done.stderr
