import fcntl
import json
import multiprocessing
import os
import signal
import time

import pytest
from fake_runs import calls, run

from wsld_plugin.errors import RunError
from wsld_plugin.reproduce.runs import accuracy_curve, current_epoch, finished, train_run, training_seconds


def test_a_run_gives_its_last_and_best_accuracy_and_its_curve(fake_train, tmp_path):
    result = train_run(run(tmp_path / 'a'))
    assert (result.seed, result.last_accuracy, result.best_accuracy) == (7, 60.0, 70.0)
    assert result.curve == [(1, 50.0), (2, 70.0), (3, 60.0)]
    assert result.seconds == pytest.approx(0.2)
    assert 'torch 2' in result.machine


def test_seed_and_options_reach_the_command_line_and_an_interrupted_run_resumes(fake_train, tmp_path):
    one = run(tmp_path / 'a', options=('x.y=1', ))
    train_run(one)
    assert calls(one) == [f'c.py --work-dir {one.work_dir} --resume --cfg-options randomness.seed=7 x.y=1']


def test_a_finished_run_is_read_and_not_repeated(fake_train, tmp_path):
    one = run(tmp_path / 'a')
    assert finished(one) is None
    first = train_run(one)
    again = train_run(one)
    assert len(calls(one)) == 1
    assert json.dumps(first.__dict__) == json.dumps(again.__dict__) == json.dumps(finished(one).__dict__)


def test_the_time_of_a_run_is_that_of_its_iterations_over_all_starts_without_a_suspension(tmp_path):
    logged = {'1': [(100, .1), (200, .1), (300, .1)], '2': [(300, .2), (400, .1), (450, 60.)]}  # 201 … 300 repeated
    for start, times in logged.items():
        (tmp_path / start / 'vis_data').mkdir(parents=True)
        (tmp_path / start / 'vis_data/scalars.json').write_text(''.join(
            json.dumps(dict(loss=1., iter=step, step=step, time=time)) + '\n' for step, time in times)
            + '{"accuracy/top1": 50.0, "time": 9.0, "step": 1}\n')
    assert training_seconds(tmp_path) == pytest.approx(10 + 10 + 20 + 10 + 50 * .1)


@pytest.mark.parametrize('before', [0, 1])
def test_a_best_checkpoint_that_nothing_resumes_from_is_kept_aside_and_the_run_starts(fake_train, tmp_path, before):
    work_dir = tmp_path / 'a'
    for number in range(before):
        (work_dir / f'interrupted_{number + 1}').mkdir(parents=True)
    work_dir.mkdir(exist_ok=True)
    (work_dir / 'best_epoch_20.pth').write_text('trained')
    assert train_run(run(work_dir))
    assert (work_dir / f'interrupted_{before + 1}/best_epoch_20.pth').read_text() == 'trained'
    assert not list(work_dir.glob('*.pth'))


def test_nothing_is_set_aside_of_a_run_that_resumes(fake_train, tmp_path):
    (tmp_path / 'a').mkdir()
    for name in ('epoch_1.pth', 'best_epoch_1.pth'):
        (tmp_path / 'a' / name).touch()
    train_run(run(tmp_path / 'a'))
    assert sorted(path.name for path in (tmp_path / 'a').glob('*.pth')) == ['best_epoch_1.pth', 'epoch_1.pth']


def test_a_result_of_other_settings_is_refused_and_kept(fake_train, tmp_path):
    train_run(run(tmp_path / 'a', settings='old'))
    changed = run(tmp_path / 'a', settings='new')
    for attempt in (finished, train_run):
        with pytest.raises(RunError, match=r'c, seed 7: .*/a was trained with other settings'):
            attempt(changed)
    assert finished(run(tmp_path / 'a', settings='old')).last_accuracy == 60.0


def test_an_unfinished_run_of_other_settings_is_refused(fake_train, tmp_path):
    with pytest.raises(RunError):
        train_run(run(tmp_path / 'a', 'fails.py', settings='old'))
    with pytest.raises(RunError, match='other settings'):
        train_run(run(tmp_path / 'a', settings='new'))


def test_two_processes_do_not_train_one_run(fake_train, tmp_path):
    one = run(tmp_path / 'a')
    one.work_dir.mkdir()
    with (one.work_dir / '.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match='is being trained by another process'):
            train_run(one)
    assert not calls(one)
    assert train_run(one)


def test_a_run_that_outlived_its_killed_parent_is_not_trained_twice(fake_train, tmp_path):
    slow = run(tmp_path / 'slow', 'slow.py')

    def train_in_a_group():
        os.setsid()
        train_run(slow)

    parent = multiprocessing.get_context('fork').Process(target=train_in_a_group)
    parent.start()
    try:
        deadline = time.monotonic() + 20
        while not calls(slow) and time.monotonic() < deadline:
            time.sleep(.05)
        parent.kill()
        parent.join()
        with pytest.raises(RunError, match='is being trained by another process'):
            train_run(slow)
        assert len(calls(slow)) == 1
    finally:
        os.killpg(parent.pid, signal.SIGKILL)


def test_a_failed_run_names_its_log_and_leaves_no_result(fake_train, tmp_path):
    with pytest.raises(RunError, match=r'(?s)fails, seed 7 failed \(exit status 3\).*a/train\.log.*the reason'):
        train_run(run(tmp_path / 'a', 'fails.py'))
    assert not (tmp_path / 'a/result.json').exists()


def test_the_curve_joins_all_starts_of_a_run(tmp_path):
    for start, steps in (('1', (1, 2)), ('2', (2, 3))):
        (tmp_path / start / 'vis_data').mkdir(parents=True)
        (tmp_path / start / 'vis_data/scalars.json').write_text(
            ''.join(json.dumps({'accuracy/top1': 10 * step + int(start), 'step': step}) + '\n' for step in steps)
            + '{"accuracy/top1": 9')  # cut short by what ended the start
    assert accuracy_curve(tmp_path) == [(1, 11), (2, 22), (3, 32)]


def test_the_current_epoch_is_the_last_that_was_logged_whole(tmp_path):
    assert current_epoch(tmp_path) == 0
    (tmp_path / '1/vis_data').mkdir(parents=True)
    log = tmp_path / '1/vis_data/scalars.json'
    log.write_text('{"loss": 1.0, "epoch": 3, "step": 9}\n{"accuracy/top1": 5.0, "step": 3}\n{"loss": 1.0, "ep')
    assert current_epoch(tmp_path) == 3
