from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from wsld_plugin.datasets import Digits
from wsld_plugin.datasets.weak import NoisyLabels, PartialLabels
from wsld_plugin.errors import ConfigError, RunError
from wsld_plugin.reproduce.plan import load_plan
from wsld_plugin.reproduce.plane import draw_plane
from wsld_plugin.reproduce.runs import train_run

PLANS = Path(__file__).parents[2] / 'configs/reproduce'


def rows_of(table):
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()[2:]]


def test_measured_sets_stand_beside_the_accuracies_of_the_finished_runs(fake_train, tmp_path):
    plan = load_plan(PLANS / 'partial_labels.py', seeds=[0, 1], rows=['Δ = 0.3'])
    cells = list(plan.runs(tmp_path, check_files=False).items())
    for _, runs in cells[:2]:
        train_run(runs[0])
    train_run(cells[0][1][1])
    table = rows_of(draw_plane(plan, tmp_path, tmp_path / 'plane.png'))
    assert [(row[1], *row[5:]) for row in table] == [('γ = 0.1', '60.00 ± 0.00', '2'), ('γ = 0.4', '60.00', '1')]
    for row, gamma in zip(table, (0.1, 0.4), strict=True):
        data = PartialLabels(Digits(split='train'), unreliability=0.3, ambiguity=gamma)
        right = data.candidates[np.arange(len(data)), data.given_labels]
        wrong = [data.candidates[data.given_labels != label, label].mean() for label in range(10)]
        assert [float(value) for value in row[2:5]] == pytest.approx(
            [1 - right.mean(), max(wrong), 1 - right.mean() + max(wrong)], abs=.006)
    assert image.imread(tmp_path / 'plane.png').ndim == 3


def test_noisy_labels_are_sets_of_one_class(fake_train, tmp_path):
    plan = load_plan(PLANS / 'weak_supervision.py', seeds=[0], rows=['symmetric noise, 40 %'],
                     methods=['student alone'])
    (run, ), = plan.runs(tmp_path, check_files=False).values()
    train_run(run)
    (_, _, unreliability, *_), = rows_of(draw_plane(plan, tmp_path, tmp_path / 'plane.png'))
    noise = NoisyLabels(Digits(split='train'), kind='symmetric', rate=0.4)
    assert float(unreliability) == pytest.approx(noise.noise_rate, abs=.0006)


def test_what_cannot_be_drawn_is_refused(fake_train, tmp_path):
    plan = load_plan(PLANS / 'weak_supervision.py', seeds=[0], rows=['100 of 1,200 labels'],
                     methods=['student alone, on the 100', 'round 1'])
    with pytest.raises(RunError, match='no run of weak_supervision is finished'):
        draw_plane(plan, tmp_path, tmp_path / 'plane.png')
    train_run(plan.runs(tmp_path, check_files=False)[plan.cells[1]][0])
    with pytest.raises(ConfigError, match='round 1: its training set, FewLabels, gives neither'):
        draw_plane(plan, tmp_path, tmp_path / 'plane.png')
    with pytest.raises(ConfigError, match='expected a PNG file'):
        draw_plane(plan, tmp_path, tmp_path / 'plane.pdf')
    assert not list(tmp_path.glob('plane*'))
