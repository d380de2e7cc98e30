import json
from pathlib import Path

import numpy as np
import pytest
from fake_runs import result

from wsld_plugin.reproduce.plan import Cell, Plan
from wsld_plugin.reproduce.report import as_json, markdown_table, summarise

TEACHER = Cell('a → b', 'teacher', Path('t.py'), published=72.34, source='Tian et al.')
KD = Cell('a → b', 'KD', Path('kd.py'), published=70.66, source='Tian et al.')
WSLD = Cell('a → b', 'WSLD', Path('wsld.py'), published=72.15, source='Zhou et al.')
OTHER = Cell('c → d', 'KD', Path('kd2.py'))
RESULTS = {TEACHER: [result(72.0), None, None],
           KD: [result(90.0, 0, 8.0), result(93.0, 1, None), result(91.5, 2, 12.0)],
           WSLD: [None, None, None],
           OTHER: [result(50.0), result(52.0), None]}


def test_a_line_is_mean_and_sample_deviation_of_the_last_and_of_the_best_epoch():
    kd = summarise(RESULTS)[1]
    assert kd.last.values == (90.0, 93.0, 91.5)
    assert kd.last.mean == 91.5
    assert kd.last.std == pytest.approx(np.std(kd.last.values, ddof=1))
    assert (kd.best.mean, kd.best.std) == (92.5, kd.last.std)
    assert (kd.n, kd.missing) == (3, 0)


def test_the_time_of_a_run_is_that_of_the_runs_that_were_not_interrupted():
    assert summarise(RESULTS)[1].seconds_mean == 10.0


def test_a_single_run_has_no_deviation_and_the_missing_seeds_are_counted():
    teacher = summarise(RESULTS)[0]
    assert (teacher.last.std, teacher.n, teacher.missing) == (None, 1, 2)
    assert str(teacher.last) == '72.00'


def test_what_was_not_run_says_so():
    line = summarise(RESULTS)[2]
    assert (line.last, line.best, line.n) == (None, None, 0)
    assert markdown_table([line]).splitlines()[2].count('not run') == 2


def test_the_table_is_aligned_and_has_a_line_a_cell_with_the_published_figure_and_its_source():
    table, notes = markdown_table(summarise(RESULTS), 'best').split('\n\n')
    lines = table.splitlines()
    assert len(lines) == 2 + len(RESULTS)
    assert len({len(line) for line in lines}) == 1
    assert 'published, best epoch, %' in lines[0]
    assert '91.50 ± 1.50' in lines[3]
    assert '70.66 [1]' in lines[3]
    assert '72.15 [2]' in lines[4]
    assert notes.splitlines() == ['[1] Tian et al.', '[2] Zhou et al.']


def test_a_table_without_published_figures_has_no_column_for_them():
    assert 'published' not in markdown_table(summarise({OTHER: RESULTS[OTHER]}))


def test_json_holds_the_lines_the_curves_and_the_machines():
    plan = Plan('p', 'title', (0, 1, 2), None, 'last', (('x.y', 1), ), tuple(RESULTS))
    found = json.loads(json.dumps(as_json(plan, summarise(RESULTS), RESULTS)))
    assert found['lines'][1]['last'] == dict(mean=91.5, std=1.5, values=[90.0, 93.0, 91.5])
    assert found['lines'][2]['last'] is None
    assert (found['plan'], found['seeds'], found['options']) == ('p', [0, 1, 2], {'x.y': 1})
    assert found['machines'] == ['a machine']
    assert len(found['curves']) == 6
    assert found['curves'][1] == dict(row='a → b', method='KD', seed=0, accuracy=[[1, 45.0], [2, 90.0]])
