import json
from pathlib import Path

import pytest

from wsld_plugin.errors import RunError
from wsld_plugin.reproduce import runs
from wsld_plugin.reproduce.runs import Result, Run, accuracy_curve, train_all, train_run


@pytest.fixture
def fake_train(tmp_path, monkeypatch):
    """A stand-in for tools/train.py: logs an accuracy, counts its calls, fails where the config says so."""
    script = tmp_path / 'train.py'
    script.write_text('''
import json, pathlib, sys
config, work_dir = sys.argv[1], pathlib.Path(sys.argv[sys.argv.index('--work-dir') + 1])
(work_dir / 'calls').open('a').write(' '.join(sys.argv[1:]) + '\\n')
print('the reason')
if config == 'fails.py':
    sys.exit(3)
logs = work_dir / 'time/vis_data'
logs.mkdir(parents=True, exist_ok=True)
with (logs / 'scalars.json').open('w') as file:
    for line in (dict(loss=1.0, step=1), {'accuracy/top1': 50.0, 'step': 1}, {'accuracy/top1': 70.0, 'step': 2},
                 {'accuracy/top1': 60.0, 'step': 3}):
        file.write(json.dumps(line) + '\\n')
''')
    monkeypatch.setattr(runs, '_TRAIN', script)
    return lambda name, config='c.py', **more: Run('KD', 7, Path(config), tmp_path / name, **more)


def calls(run):
    return (run.work_dir / 'calls').read_text().splitlines()


def test_a_run_gives_its_last_and_best_accuracy_and_its_curve(fake_train):
    result = train_run(fake_train('a'))
    assert (result.method, result.seed, result.last_accuracy, result.best_accuracy) == ('KD', 7, 60.0, 70.0)
    assert result.curve == [(1, 50.0), (2, 70.0), (3, 60.0)]


def test_seed_and_options_reach_the_command_line_and_an_interrupted_run_resumes(fake_train):
    run = fake_train('a', options=('x.y=1', ))
    train_run(run)
    assert calls(run) == [f'c.py --work-dir {run.work_dir} --resume --cfg-options randomness.seed=7 x.y=1']


def test_a_finished_run_is_read_and_not_repeated(fake_train):
    run = fake_train('a')
    first = train_run(run)
    again = train_run(run)
    assert len(calls(run)) == 1
    assert json.dumps(first.__dict__) == json.dumps(again.__dict__)


def test_a_failed_run_is_named_with_its_log_and_does_not_stop_the_others(fake_train):
    good, bad, seen = fake_train('good'), fake_train('bad', config='fails.py'), []
    with pytest.raises(RunError, match=r'(?s)KD, seed 7 failed \(exit status 3\).*bad/train\.log.*the reason'):
        train_all([bad, good], jobs=2, on_done=seen.append)
    assert [type(result) for result in seen] == [Result]
    assert not (bad.work_dir / 'result.json').exists()


def test_results_come_in_the_order_of_the_runs(fake_train):
    order = [fake_train(name) for name in 'abc']
    assert len(train_all(order, jobs=3, on_done=lambda result: None)) == 3


def test_the_curve_joins_all_starts_of_a_run(tmp_path):
    for start, steps in (('1', (1, 2)), ('2', (2, 3))):
        (tmp_path / start / 'vis_data').mkdir(parents=True)
        (tmp_path / start / 'vis_data/scalars.json').write_text(
            ''.join(json.dumps({'accuracy/top1': 10 * step + int(start), 'step': step}) + '\n' for step in steps))
    assert accuracy_curve(tmp_path) == [(1, 11), (2, 22), (3, 32)]
