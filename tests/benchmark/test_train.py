from pathlib import Path

import pytest

from wsld_plugin.benchmark.train import short_run, time_runs, train_markdown

PLAIN = str(Path(__file__).parents[2] / 'configs/baselines/resnet18-w8_digits.py')


@pytest.fixture(scope='module')
def report():
    return time_runs([PLAIN], pairs=2, warmup=2, iterations=5)


def test_the_parts_of_an_iteration_are_positive_and_none_is_longer_than_it(report):
    row, = report['rows']
    assert 0 < row['step'] < row['iteration']
    assert 0 < row['loading'] < row['iteration']
    assert 0 < row['rest'] < row['iteration']
    assert row['share_outside'] > 0


def test_the_parts_add_up_to_the_run():
    for iteration, loading, step in short_run(PLAIN, 4)[1:]:  # the first batch is loaded before the clock starts
        assert iteration > loading + step


def test_a_config_beside_itself_has_the_ratio_one_and_another_that_of_the_rounds(monkeypatch):
    rounds = {'first': [(3.0, 1.0), (5.0, 1.0)], 'second': [(5.0, 1.0), (5.0, 3.0)]}  # iteration, loading
    given = {path: iter(times) for path, times in rounds.items()}

    def short_run(path, iterations, options):
        iteration, loading = next(given[path])
        return [(9.0, 0.0, 1.0), (iteration - 1, loading, 0.5), (iteration + 1, loading, 0.5)][:iterations]
    monkeypatch.setattr('wsld_plugin.benchmark.train.short_run', short_run)
    first, second = time_runs(['first', 'second'], pairs=2, warmup=1, iterations=2)['rows']
    assert first['ratio'] == (1.0, 1.0, 1.0)
    assert second['ratio'] == (0.875, 1.25, 1.625)  # 2.0 and 0.5, interpolated
    assert second['loading'] == 2.0


def test_a_config_can_be_named_twice(monkeypatch):
    monkeypatch.setattr('wsld_plugin.benchmark.train.short_run', lambda *_: [(3.0, 1.0, 1.0)])
    rows = time_runs(['a.py', 'b.py', 'a.py'], pairs=2, warmup=0, iterations=1)['rows']
    assert [row['name'] for row in rows] == ['a', 'b', 'a']


def test_the_table_names_the_config_and_how_it_was_measured(report):
    assert '| resnet18-w8_digits | ' in train_markdown(report)
    assert '2 runs of each through the Runner, 5 iterations after 2 to warm up.' in train_markdown(report)
