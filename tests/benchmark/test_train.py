from wsld_plugin.benchmark.train import time_runs


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
