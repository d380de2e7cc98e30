import threading
import time

import pytest
from fake_runs import calls, run

from wsld_plugin.errors import RunError
from wsld_plugin.reproduce import pool
from wsld_plugin.reproduce.pool import train_all, with_needs
from wsld_plugin.reproduce.runs import Result


def quiet(*_):
    pass


def test_teachers_come_before_their_students_and_each_only_once(tmp_path):
    teacher = run(tmp_path / 't')
    self_taught = run(tmp_path / 's', needs=(teacher, ))
    students = [run(tmp_path / name, needs=(teacher, self_taught)) for name in 'ab']
    assert with_needs(students) == [teacher, self_taught, *students]


def test_every_run_gives_its_result_and_what_it_needs_is_trained_first(fake_train, tmp_path):
    teacher = run(tmp_path / 't')
    students = [run(tmp_path / name, needs=(teacher, )) for name in 'abc']
    ended = []
    outcomes = train_all(students, 2, lambda one, outcome: ended.append(one), quiet)
    assert ended[0] == teacher
    assert set(ended) == {teacher, *students} == set(outcomes)
    assert all(isinstance(outcome, Result) for outcome in outcomes.values())
    assert all(len(calls(one)) == 1 for one in outcomes)


def test_a_failed_run_stops_those_that_need_it_and_no_other(fake_train, tmp_path):
    bad, good = run(tmp_path / 'bad', 'fails.py'), run(tmp_path / 'good')
    student = run(tmp_path / 's', needs=(bad, ))
    grandchild = run(tmp_path / 'g', needs=(student, ))
    outcomes = train_all([grandchild, good], 1, quiet, quiet)
    assert isinstance(outcomes[good], Result)
    assert 'exit status 3' in str(outcomes[bad])
    for one in (student, grandchild):
        assert isinstance(outcomes[one], RunError)
        assert 'was not started' in str(outcomes[one])
        assert not calls(one)


@pytest.mark.parametrize('jobs', [1, 3])
def test_no_more_runs_than_jobs_are_trained_at_a_time(tmp_path, monkeypatch, jobs):
    now, most, lock = 0, 0, threading.Lock()

    def train_run(one, threads):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(.05)
        with lock:
            now -= 1

    monkeypatch.setattr(pool, 'train_run', train_run)
    train_all([run(tmp_path / str(number)) for number in range(6)], jobs, quiet, quiet)
    assert most == jobs


def test_an_interruption_ends_the_runs_in_progress(fake_train, tmp_path):
    slow = run(tmp_path / 'slow', 'slow.py')

    def interrupt(running):
        if calls(slow):
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        train_all([slow, run(tmp_path / 'next', 'slow.py')], 1, quiet, interrupt)
    assert time.monotonic() - start < 20  # the stand-in would take 30 s
    assert not (tmp_path / 'next').exists()
