import json
from pathlib import Path

import pytest
from processes import tool

BASELINES = Path(__file__).parents[2] / 'configs/baselines'
PLAN = f"""
title = 'Two students'
parts = 12
size = 30
models = 2
every = 1
options = {{'train_dataloader.dataset.num_samples': None, 'train_cfg.max_epochs': 2}}
methods = [dict(name='hard labels', config='{BASELINES}/resnet18-w8_digits.py')]
"""


def study(work_dir, *arguments, **options):
    return tool('bias_variance.py', work_dir / 'plan.py', '--work-dir', work_dir / 'runs', '--jobs', 2, *arguments,
                **options)


@pytest.mark.slow
def test_students_of_two_parts_are_trained_once_and_their_error_is_split(tmp_path):
    (tmp_path / 'plan.py').write_text(PLAN)
    first = study(tmp_path).stdout
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob('runs/*/**/*') if path.is_file()}
    again = study(tmp_path).stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob('runs/*/**/*') if path.is_file()} == before
    assert first.split('\n\n')[-4:] == again.split('\n\n')[-4:]
    assert '2 epochs' not in again

    finding, = json.loads((tmp_path / 'runs/plan_bias_variance.json').read_text())['findings']
    assert (finding['models'], finding['samples'], list(finding['epochs'])) == (2, 597, ['1', '2'])
    for totals in finding['epochs'].values():
        assert totals['error'] == pytest.approx(totals['bias'] + totals['variance'])
        assert totals['variance'] > 0


def test_more_models_than_parts_are_refused_before_anything_is_trained(tmp_path):
    (tmp_path / 'plan.py').write_text(PLAN)
    done = study(tmp_path, '--models', 13, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith('13 models on 12 disjoint parts, expected 2 … 12 models.\n')
    assert not (tmp_path / 'runs').exists()
