import json

from processes import tool

PLAIN = 'configs/baselines/resnet18-w8_digits.py'
WSLD = 'configs/wsld/wsld_resnet18-w32_resnet18-w8_digits.py'


def test_a_step_gives_tables_and_every_figure_as_json(tmp_path):
    out = tmp_path / 'report.json'
    done = tool('benchmark.py', 'step', WSLD, '--pairs', 2, '--warmup', 1, '--batch-size', 4, '--image-size', 8,
                '--threads', 1, '--rungs', 'channels-last', 'hand-written, fp32', '--out', out,
                '--cfg-options', 'optim_wrapper.optimizer.momentum=0.5')
    found = json.loads(out.read_text())
    assert (found['benchmark'], found['batch_size'], found['image_size'], found['threads']) == ('step', 4, 8, 1)
    assert found['command'].startswith(f'python tools/benchmark.py step {WSLD} --pairs 2')
    assert [len(row['seconds']) for row in found['rows']] == [2] * 3
    assert '| hand-written, fp32 |' in done.stdout
    assert '| ours / hand-written, float32 |' in done.stdout
    assert 'mmengine - INFO' not in done.stdout + done.stderr


def test_a_run_gives_a_table_of_its_parts():
    done = tool('benchmark.py', 'train', PLAIN, '--pairs', 2, '--warmup', 1, '--iterations', 2, '--threads', 1)
    assert '| resnet18-w8_digits | ' in done.stdout


def test_one_round_is_refused_because_it_has_no_quartiles():
    done = tool('benchmark.py', 'train', PLAIN, '--pairs', 1, check=False)
    assert done.returncode == 2
    assert '--pairs must be at least 2' in done.stderr
