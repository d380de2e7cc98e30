import json
import tracemalloc
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from wsld_plugin.analysis.bias_variance import decompose, entropy
from wsld_plugin.errors import ConfigError, RunError
from wsld_plugin.hooks.predictions import FOLDER, write_array
from wsld_plugin.studies import bias_variance
from wsld_plugin.studies.bias_variance import Finding, measure_cells, paragraphs, study
from wsld_plugin.studies.plan import Cell, Plan
from wsld_plugin.studies.runs import Result, Run
from wsld_plugin.studies.table import Score

HARD, KD = Cell('students', 'hard labels', Path('s.py')), Cell('KD', 'τ = 4', Path('kd.py'), tau=4.0)
LABELS = np.random.default_rng(9).integers(3, size=30)
POSTERIORS = softmax(np.random.default_rng(1).standard_normal((30, 3)), axis=-1)
INTERVALS = dict(error=(.9, 1.1), bias=(.5, .7), variance=(.3, .5))
TOTALS = dict(error=1.0, bias=.6, variance=.4, bias_found=.68, variance_found=.32)
ALONE = Finding('students', 'hard labels', None, 5, 597, Score.of([86.5, 89.5]), {20: TOTALS, 40: TOTALS}, INTERVALS,
                INTERVALS, machines=('a machine', ))
TAUGHT = replace(ALONE, row='KD', method='τ = 4', tau=4.0, notes=('A note.', ), teachers=2, difference=dict(
    error=-.2, bias=.1, variance=-.3, over_samples=INTERVALS, over_models=INTERVALS))


def plan(models=6, teachers=2):
    return Plan('p', 'The title', tuple(range(models)), (HARD, KD), teachers, parts=10)


def fake_runs(folder, models=6, std=1.0, seed=0, epochs=(1, 2), teachers=0, shape=(30, 3)):
    """Finished runs, and their predictions of the last epoch."""
    rng, runs = np.random.default_rng(seed), []
    means = rng.standard_normal(shape)
    for part in range(models):
        work_dir = folder / f'seed{part}'
        for epoch in epochs:
            log_p = log_softmax(means + std * rng.standard_normal(shape), axis=-1)
            write_array(work_dir / FOLDER / f'epoch_{epoch}.npy', log_p)
        write_array(work_dir / FOLDER / 'labels.npy', np.resize(LABELS, shape[0]))
        result = Result(part, 80.0 + part, 90.0, 1.0, 'a machine', [])
        (work_dir / 'result.json').write_text(json.dumps(asdict(result)))
        needs = (Run(Path('t.py'), part % teachers, folder / f'teacher{part % teachers}'), ) if teachers else ()
        runs.append(Run(Path('c.py'), part, work_dir, needs=needs))
    return runs, [np.load(run.work_dir / FOLDER / f'epoch_{max(epochs)}.npy') for run in runs]


def test_a_finding_is_the_decomposition_of_the_predictions_with_a_paired_difference_and_notes_on_teachers(tmp_path):
    runs, last = fake_runs(tmp_path)
    (finding, ), left_out = measure_cells(plan(), {HARD: runs})
    assert left_out == []
    assert finding.last == decompose(last, LABELS).totals()
    assert (list(finding.epochs), finding.models, finding.samples) == ([1, 2], 6, 30)
    assert (finding.accuracy.mean, finding.accuracy.std) == (82.5, pytest.approx(np.std(range(6), ddof=1)))
    for kind in (finding.over_samples, finding.over_models):
        assert all(low < finding.last[quantity] < high for quantity, (low, high) in kind.items())
    assert (finding.difference, finding.irreducible, finding.teachers) == (None, None, None)
    assert measure_cells(plan(4), {HARD: runs[:4]})[0][0].over_models is None  # too few models

    for run in runs:
        write_array(run.work_dir / FOLDER / 'posteriors.npy', POSTERIORS)
    (finding, ), _ = measure_cells(plan(), {HARD: runs})
    assert finding.last == decompose(last, POSTERIORS).totals()
    assert finding.irreducible == entropy(POSTERIORS).mean()

    for teachers, note in ((2, 'have 2 teachers'), (6, None)):
        runs, last = fake_runs(tmp_path / str(teachers), teachers=teachers)
        (finding, ), _ = measure_cells(plan(teachers=teachers), {HARD: runs})
        assert finding.last == pytest.approx(decompose(last, LABELS).totals())
        assert finding.teachers == teachers
        assert finding.notes == () if note is None else note in finding.notes[0]

    hard, _ = fake_runs(tmp_path / 'a', std=1.5)
    kd, _ = fake_runs(tmp_path / 'b', std=.5)
    first, second = measure_cells(plan(), {HARD: hard, KD: kd})[0]
    assert second.difference['variance'] == second.last['variance'] - first.last['variance'] < 0
    low, high = second.difference['over_samples']['variance']
    assert low < second.difference['variance'] < high < 0
    same = measure_cells(plan(), {HARD: hard, KD: hard})[0][1]
    assert same.difference['over_models'] == dict.fromkeys(('error', 'bias', 'variance'), (0, 0))


def test_a_cell_that_diverged_or_misses_a_run_is_left_out_and_the_others_are_unchanged(tmp_path):
    hard, _ = fake_runs(tmp_path / 'a')
    kd, _ = fake_runs(tmp_path / 'b', seed=1)
    other, _ = fake_runs(tmp_path / 'c', seed=2)
    for part, samples, epoch, value in ((3, 1, 1, np.nan), (5, 30, 2, -np.inf)):
        path = kd[part].work_dir / FOLDER / f'epoch_{epoch}.npy'
        log_p = np.load(path)
        log_p[:samples, 1] = value
        write_array(path, log_p)
    wsld = Cell('WSLD', 'τ = 4', Path('w.py'))
    findings, (message, ) = measure_cells(plan(), {HARD: hard, KD: kd, wsld: other})
    assert findings == measure_cells(plan(), {HARD: hard, wsld: other})[0]
    assert message.startswith('KD: τ = 4: left out, ')
    assert f'{kd[3].work_dir}, 1 of 30 samples in epoch 1; {kd[5].work_dir}, 30 of 30 samples in epoch 2' in message
    assert 'move the folder away' in message

    (kd[3].work_dir / 'result.json').unlink()
    findings, left_out = measure_cells(plan(), {HARD: hard, KD: kd})
    assert [str(finding) for finding in findings] == ['students: hard labels']
    assert left_out == ['KD: τ = 4: left out, 5 of 6 runs are finished.']
    assert measure_cells(plan(), {HARD: kd, KD: hard})[0][0].difference is None


def test_runs_with_other_samples_posteriors_or_epochs_or_a_truncated_file_are_rejected(tmp_path):
    hard, _ = fake_runs(tmp_path / 'a')
    kd, _ = fake_runs(tmp_path / 'b')
    path = kd[4].work_dir / FOLDER / 'epoch_2.npy'
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    with pytest.raises(RunError, match=r"seed4/log_probabilities/epoch_2\.npy .* Move the run's folder away"):
        measure_cells(plan(), {KD: kd})
    path.write_bytes(content)
    (kd[1].work_dir / FOLDER / 'epoch_1.npy').unlink()
    with pytest.raises(RunError, match=r'seed1 has predictions of the epochs \[2\]'):
        measure_cells(plan(), {HARD: hard, KD: kd})
    write_array(kd[2].work_dir / FOLDER / 'labels.npy', (LABELS + 1) % 3)
    with pytest.raises(RunError, match=r'b/seed2 and .*a/seed0 were validated on different samples'):
        measure_cells(plan(), {HARD: hard, KD: kd})
    # also when the first cell of the plan is left out
    (hard[0].work_dir / 'result.json').unlink()
    other, _ = fake_runs(tmp_path / 'c')
    with pytest.raises(RunError, match=r'b/seed2 and .*c/seed0 were validated on different samples'):
        measure_cells(plan(), {HARD: hard, Cell('WSLD', 'τ = 4', Path('w.py')): other, KD: kd})

    for run in other[:-1]:
        write_array(run.work_dir / FOLDER / 'posteriors.npy', POSTERIORS)
    for _ in range(2):  # the last run has no posteriors, then others
        with pytest.raises(RunError, match=r'c/seed5 and .*c/seed0 were validated on different samples'):
            measure_cells(plan(), {KD: other})
        write_array(other[-1].work_dir / FOLDER / 'posteriors.npy', POSTERIORS[::-1])


def test_more_epochs_take_no_more_memory(tmp_path):
    peaks = []
    for epochs in (2, 8):
        runs, _ = fake_runs(tmp_path / str(epochs), models=4, epochs=range(1, epochs + 1), shape=(2000, 50))
        tracemalloc.start()
        measure_cells(plan(4), {HARD: runs})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_each_cell_and_its_difference_has_a_line_in_a_report_that_stays_if_no_cell_is_finished(
        tmp_path, capsys, monkeypatch):
    text = '\n'.join(paragraphs(plan(), [ALONE, TAUGHT, replace(TAUGHT, method='τ = 8')]))
    assert ('| students | hard labels | 1.000 [0.900, 1.100] | 0.600 [0.500, 0.700] | 0.400 [0.300, 0.500] | '
            '88.00 ± 2.12 |') in text
    for part in ('| difference from | students: hard labels |', '-0.300 [0.300, 0.500] [0.300, 0.500]',
                 'M = 5 models on disjoint parts, N = 597 test samples', 'KD: τ = 4; KD: τ = 8: A note.',
                 'Variance times M/(M−1); bias is error less variance.'):
        assert part in text
    assert text.endswith('a machine')
    few = replace(TAUGHT, over_models=None, notes=(), difference={**TAUGHT.difference, 'over_models': None})
    text = '\n'.join(paragraphs(plan(), [replace(ALONE, over_models=None), few]))
    assert all(part in text for part in ('fewer than 5 models are not resampled', '-0.300 [0.300, 0.500] |'))
    for absent in ('entropy', 'teacher', 'note'):
        assert absent not in text
    assert 'its entropy, 0.3916' in '\n'.join(paragraphs(plan(), [replace(ALONE, irreducible=.3916)]))
    monkeypatch.setattr(Plan, 'runs', lambda *_, **__: {})
    monkeypatch.setattr(bias_variance, 'measure_cells', lambda *_: ([ALONE, TAUGHT], ['WSLD: left out, 3 of 5.']))
    study(plan(), tmp_path, jobs=1, train=False)
    text = (tmp_path / 'p_bias_variance.md').read_text()
    assert text.startswith('The title\n\n| ')
    assert text.endswith('left out, 3 of 5.\n')
    assert text.strip() in capsys.readouterr().out
    found = json.loads((tmp_path / 'p_bias_variance.json').read_text())
    assert (found['findings'][1]['epochs']['40'], found['findings'][0]['over_models']['bias']) == (TOTALS, [.5, .7])
    assert (tmp_path / 'p_bias_variance.png').read_bytes().startswith(b'\x89PNG')
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(bias_variance, 'measure_cells', lambda *_: ([], ['r: hard labels: left out, 0 of 2 runs']))
    with pytest.raises(RunError, match=r'(?s)No cell can be reported.*r: hard labels: left out, 0 of 2 runs'):
        study(plan(), tmp_path, jobs=1, train=False)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(ConfigError, match=r'p has no parts.*tools/reproduce\.py'):
        study(replace(plan(), parts=None), tmp_path, jobs=1)
