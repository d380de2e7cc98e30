import json

import pytest
from processes import tool


def test_the_demo_trains_reports_and_repeats_nothing(tmp_path):
    arguments = ('--work-dir', tmp_path, '--seeds', 1, '--cfg-options', 'train_cfg.max_epochs=1',
                 'train_cfg.val_interval=1')
    out = tool('demo.py', *arguments).stdout
    rows = json.loads((tmp_path / 'results.json').read_text())
    assert [row['method'] for row in rows] == ['teacher', 'student alone', 'KD', 'WSLD']
    assert {'method', 'accuracy_mean', 'accuracy_std', 'n'} <= rows[0].keys()
    assert all(row['n'] == 1 and 0 <= row['accuracy_mean'] <= 100 for row in rows)
    assert [line for line in out.splitlines() if line.startswith('[')][-1].startswith('[ 4/4]')
    assert (tmp_path / 'results.md').read_text().splitlines()[0] in out
    assert (tmp_path / 'results.png').read_bytes().startswith(b'\x89PNG')

    logs = sorted(tmp_path.glob('*/train.log'))
    before = [log.read_bytes() for log in logs]
    again = tool('demo.py', *arguments).stdout
    assert [log.read_bytes() for log in logs] == before
    assert again.split('\n\n')[1:] == out.split('\n\n')[1:]


@pytest.mark.slow
def test_soft_labels_help_a_student_of_few_labels(tmp_path):
    tool('demo.py', '--work-dir', tmp_path)
    rows = json.loads((tmp_path / 'results.json').read_text())
    assert all(row['n'] >= 3 for row in rows)
    accuracy = {row['method']: row['accuracy_mean'] for row in rows}
    for method in ('KD', 'WSLD'):
        assert accuracy['student alone'] < accuracy[method] < accuracy['teacher']
