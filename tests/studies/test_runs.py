import json
import multiprocessing
import os
import signal
import time

import pytest
from fake_runs import calls, run

from wsld_plugin.errors import RunError
from wsld_plugin.studies import runs
from wsld_plugin.studies.runs import Result, finished, train_all, train_missing, train_run


def test_a_run_has_its_seed_and_options_is_not_repeated_and_lets_no_other_settings_in(fake_train, tmp_path):
    one = run(tmp_path / 'a', options=('x.y=1', ), settings='old')
    assert finished(one) is None
    result = train_run(one)
    assert (result.seed, result.last_accuracy, result.best_accuracy) == (7, 60.0, 70.0)
    assert (result.curve, result.seconds) == ([(1, 50.0), (2, 70.0), (3, 60.0)], pytest.approx(0.2))
    assert 'torch 2' in result.machine
    again = train_run(one)
    assert calls(one) == [f'c.py --work-dir {one.work_dir} --resume --cfg-options randomness.seed=7 x.y=1']
    assert json.dumps(result.__dict__) == json.dumps(again.__dict__) == json.dumps(finished(one).__dict__)
    changed = run(tmp_path / 'a', options=('x.y=1', ), settings='new')
    for attempt in (finished, train_run):
        with pytest.raises(RunError, match=r'c, seed 7: .*/a was trained with other settings'):
            attempt(changed)
    assert finished(one).last_accuracy == 60.0
    with pytest.raises(RunError):
        train_run(run(tmp_path / 'unfinished', 'fails.py', settings='old'))
    with pytest.raises(RunError, match='other settings'):
        train_run(run(tmp_path / 'unfinished', settings='new'))


def test_the_logs_of_all_starts_of_a_run_are_joined(tmp_path):
    assert runs.current_epoch(tmp_path) == 0
    logged = {'1': [(100, .1), (200, .1), (300, .1)], '2': [(300, .2), (400, .1), (450, 60.)]}  # 201 … 300 repeated
    for start, times in logged.items():
        (tmp_path / start / 'vis_data').mkdir(parents=True)
        lines = [dict(loss=1., iter=step, step=step, time=time, epoch=step // 100) for step, time in times]
        lines += [{'accuracy/top1': 10 * epoch + int(start), 'time': 9.0, 'step': epoch} for epoch in (int(start), 2)]
        (tmp_path / start / 'vis_data/scalars.json').write_text(
            ''.join(json.dumps(line) + '\n' for line in lines) + '{"accuracy/top1": 9, "ep')  # interrupted
    assert runs.training_seconds(tmp_path) == pytest.approx(10 + 10 + 20 + 10 + 50 * .1)  # without the suspension
    assert (runs.accuracy_curve(tmp_path), runs.current_epoch(tmp_path)) == ([(1, 11), (2, 22)], 4)


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


def test_a_needed_run_is_trained_first_and_once_and_a_failed_one_stops_those_that_need_it(fake_train, tmp_path):
    teacher, bad = run(tmp_path / 't'), run(tmp_path / 'bad', 'fails.py')
    students = [run(tmp_path / name, needs=(teacher, )) for name in 'ab']
    stopped = run(tmp_path / 's', needs=(bad, ))
    grandchild = run(tmp_path / 'g', needs=(stopped, ))
    assert runs.with_needs([grandchild, *students]) == [bad, stopped, grandchild, teacher, *students]
    outcomes = train_all([grandchild, *students], 2)
    good = [one for one, outcome in outcomes.items() if isinstance(outcome, Result)]
    assert (good[0], set(good)) == (teacher, {teacher, *students})
    assert all(len(calls(one)) == 1 for one in good)
    with pytest.raises(RunError, match=r'(?s)fails, seed 7 failed \(exit status 3\).*bad/train\.log.*the reason'):
        raise outcomes[bad]
    assert not (bad.work_dir / 'result.json').exists()
    for one in (stopped, grandchild):
        assert isinstance(outcomes[one], RunError)
        assert 'was not started' in str(outcomes[one])
        assert not calls(one)


def test_no_more_runs_than_jobs_are_trained_at_a_time(tmp_path, monkeypatch):
    running, numbers = [], []

    def train_run(one, threads):
        running.append(one)
        numbers.append(len(running))
        time.sleep(.05)
        running.remove(one)
        return Result(0, 1., 1., 1., '')

    monkeypatch.setattr(runs, 'train_run', train_run)
    train_all([run(tmp_path / str(number)) for number in range(6)], 3)
    assert max(numbers) == 3


def test_an_interruption_ends_the_runs_in_progress(fake_train, tmp_path, monkeypatch):
    slow = run(tmp_path / 'slow', 'slow.py')

    def interrupt(*_, **__):
        while not calls(slow):
            time.sleep(.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, 'wait', interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_all([slow, run(tmp_path / 'next', 'slow.py')], 1)
    assert not list(slow.work_dir.glob('*/vis_data'))  # which the stand-in writes at its end
    assert not (tmp_path / 'next').exists()


def test_first_runs_are_trained_before_second_ones_and_failures_are_returned(fake_train, tmp_path, capsys):
    cells = [[run(tmp_path / f'{name}{seed}', f'{name}.py', seed) for seed in (0, 1)] for name in 'ab']
    train_run(cells[1][0])
    assert train_missing('title', cells, tmp_path, 1) is None
    printed = capsys.readouterr().out
    assert 'title\n1 of 4 runs are finished; ' in printed
    assert printed.index('a, seed 0: 60.00 %') < printed.index('a, seed 1') < printed.index('b, seed 1: 60.00 %')
    assert train_missing('title', cells, tmp_path, 1) is None
    assert capsys.readouterr().out == ''
    failure = train_missing('title', [[run(tmp_path / 'bad', 'fails.py')]], tmp_path, 1)
    assert str(failure).startswith('1 runs failed:\nfails, seed 7 failed')
