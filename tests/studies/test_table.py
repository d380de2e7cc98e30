import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_runs import result
from matplotlib import image

from wsld_plugin.datasets import Digits
from wsld_plugin.datasets.weak import NoisyLabels, PartialLabels
from wsld_plugin.errors import ConfigError, RunError
from wsld_plugin.studies.plan import Cell, load_plan
from wsld_plugin.studies.runs import train_run
from wsld_plugin.studies.table import Line, draw_plane, markdown_table, plot_lines, reproduce

PLANS = Path(__file__).parents[2] / 'configs/reproduce'
OURS, PUBLISHED = (0x1f, 0x77, 0xb4), (0xff, 0x7f, 0x0e)  # the first two of matplotlib's cycle
TEACHER = Cell('a → b', 'teacher', Path('t.py'), published=72.34, source='Tian et al.')
KD = Cell('a → b', 'KD', Path('kd.py'), published=70.66, source='Tian et al.')
WSLD = Cell('a → b', 'WSLD', Path('wsld.py'), published=72.15, source='Zhou et al.', epoch='best')
OTHER = Cell('c → d', 'KD', Path('kd2.py'))
RESULTS = {TEACHER: [result(72.0), None, None],
           KD: [result(90.0, 0, 8.0), result(93.0, 1), result(91.5, 2, 12.0)],
           WSLD: [None, None, None],
           OTHER: [result(50.0), result(52.0), None]}


def lines_of(results):
    return [Line.of(*each) for each in results.items()]


def pixels_of(path, colour):
    picture = image.imread(path)[..., :3]
    return int((np.abs(picture - np.array(colour) / 255).max(axis=-1) < 0.01).sum())


def rows_of(table):
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()[2:]]


def test_lines_are_mean_and_deviation_in_a_table_of_epochs_and_sources_and_a_picture_of_both_colours(tmp_path):
    teacher, kd, wsld, _ = lines_of(RESULTS)
    assert kd.last.values == (90.0, 93.0, 91.5)
    assert (kd.last.mean, kd.last.std) == (91.5, pytest.approx(np.std(kd.last.values, ddof=1)))
    assert (kd.best.mean, kd.best.std) == (92.5, kd.last.std)
    assert (kd.n, kd.missing, kd.seconds_mean) == (3, 0, 10.0)
    assert (teacher.last.std, teacher.n, teacher.missing, str(teacher.last)) == (None, 1, 2, '72.00')
    assert (wsld.last, wsld.best, wsld.n, wsld.epoch) == (None, None, 0, 'best')
    ran = lines_of({**RESULTS, WSLD: [result(70.0, seconds=1800.)], OTHER: [result(50.0, seconds=36000.)]})
    table, notes = markdown_table(ran).split('\n\n')
    lines = table.splitlines()
    assert (len(lines), len({len(line) for line in lines})) == (2 + len(RESULTS), 1)
    assert 'published, %' in lines[0]
    assert '91.50 ± 1.50' in lines[3]
    assert [row[5] for row in rows_of(table)] == ['10 s', '10 s', '30 min', '10.0 h']
    assert '70.66, last epoch [1]' in lines[3]
    assert '72.15, best epoch [2]' in lines[4]
    assert notes.splitlines() == ['[1] Tian et al.', '[2] Zhou et al.']
    assert 'published' not in markdown_table(lines_of({OTHER: RESULTS[OTHER]}))
    lines = lines_of({KD: RESULTS[KD], replace(WSLD, published=92.0): [result(91.0)], OTHER: RESULTS[OTHER]})
    plot_lines(tmp_path / 'a.png', lines, 'title')
    plot_lines(tmp_path / 'b.png', [replace(line, published=None) for line in lines], 'title')
    assert pixels_of(tmp_path / 'a.png', OURS) > 100
    assert pixels_of(tmp_path / 'a.png', PUBLISHED) > 20
    assert pixels_of(tmp_path / 'b.png', PUBLISHED) == 0


def test_the_report_has_the_finished_runs_and_counts_the_other_cells(fake_train, tmp_path, capsys):
    plan = load_plan(PLANS / 'digits.py', seeds=[0], rows=['large student'], options={'train_cfg.max_epochs': 2})
    runs = plan.runs(tmp_path, check_files=False)
    reproduce(plan, tmp_path, 1, train=False)
    assert 'No run is finished' in capsys.readouterr().out
    assert not list(tmp_path.glob('digits*'))
    train_run(runs[plan.cells[0]][0])
    reproduce(plan, tmp_path, 1, train=False)
    text = (tmp_path / 'digits.md').read_text()
    assert text.strip() in capsys.readouterr().out
    assert "instead of the configs':\n\ntrain_cfg.max_epochs=2\n\n|" in text
    assert [row[:5] for row in rows_of(text.split('\n\n')[3])] == [
        ['large student', 'student alone', '60.00', '70.00', '1']]
    assert '\n\n1 cells were not run.\n\n' in text
    found = json.loads((tmp_path / 'digits.json').read_text())
    assert [line['n'] for line in found['lines']] == [1, 0]
    assert found['lines'][0]['last'] == dict(mean=60.0, std=None, values=[60.0])
    assert (found['lines'][1]['last'], found['lines'][1]['epoch']) == (None, 'last')
    assert (found['plan'], found['seeds'], found['options']) == ('digits', [0], {'train_cfg.max_epochs': 2})
    assert found['curves'] == [dict(row='large student', method='student alone', seed=0,
                                    accuracy=[[1, 50.0], [2, 70.0], [3, 60.0]])]
    assert len(found['machines']) == 1
    assert (tmp_path / 'digits.png').read_bytes().startswith(b'\x89PNG')


def test_measured_sets_are_listed_with_the_accuracies_of_finished_runs_and_none_without_either(fake_train, tmp_path):
    plan = load_plan(PLANS / 'partial_labels.py', seeds=[0, 1], rows=['Δ = 0.3'], methods=['γ = 0.1', 'γ = 0.4'])
    (first, second), (third, _) = plan.runs(tmp_path, check_files=False).values()
    for run in (first, second, third):
        train_run(run)
    table = rows_of(draw_plane(plan, tmp_path, tmp_path / 'plane.png'))
    assert [(row[1], *row[5:]) for row in table] == [('γ = 0.1', '60.00 ± 0.00', '2'), ('γ = 0.4', '60.00', '1')]
    for row, gamma in zip(table, (0.1, 0.4), strict=True):
        data = PartialLabels(Digits(split='train'), unreliability=0.3, ambiguity=gamma)
        right = data.candidates[np.arange(len(data)), data.given_labels]
        wrong = [data.candidates[data.given_labels != label, label].mean() for label in range(10)]
        assert [float(value) for value in row[2:5]] == pytest.approx(
            [1 - right.mean(), max(wrong), 1 - right.mean() + max(wrong)], abs=.006)
    assert image.imread(tmp_path / 'plane.png').ndim == 3

    plan = load_plan(PLANS / 'weak_supervision.py', seeds=[0], methods=['student alone', 'round 1'],
                     rows=['symmetric noise, 40 %', '100 of 1,200 labels'])
    with pytest.raises(RunError, match='no run of weak_supervision is finished'):
        draw_plane(plan, tmp_path, tmp_path / 'plane.png')
    noisy, few = (of_cell[0] for of_cell in plan.runs(tmp_path, check_files=False).values())
    train_run(noisy)
    (_, _, unreliability, *_), = rows_of(draw_plane(plan, tmp_path, tmp_path / 'plane.png'))
    noise = NoisyLabels(Digits(split='train'), kind='symmetric', rate=0.4)  # sets of one class
    assert float(unreliability) == pytest.approx(noise.noise_rate, abs=.0006)
    train_run(few)
    for name, message in (('plane.png', 'round 1: its training set, FewLabels, has neither'),
                          ('plane.pdf', 'expected a PNG file')):
        with pytest.raises(ConfigError, match=message):
            draw_plane(plan, tmp_path, tmp_path / name)
    assert not list(tmp_path.glob('*.pdf'))
