import json
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from wsld_plugin.analysis.bias_variance import decompose, entropy
from wsld_plugin.bias_variance.measure import measure
from wsld_plugin.bias_variance.plan import Method, Plan
from wsld_plugin.bias_variance.predictions import FOLDER, write_array
from wsld_plugin.errors import RunError
from wsld_plugin.reproduce.runs import Result, Run

HARD, KD = Method('hard labels', Path('s.py')), Method('KD', Path('kd.py'), 4.0)
LABELS = np.random.default_rng(9).integers(3, size=30)


def plan(models=6, teachers=2):
    return Plan('p', 'title', 10, None, models, teachers, None, (), (HARD, KD))


def fake_runs(folder, models=6, std=1.0, seed=0, epochs=(1, 2), teachers=0):
    """Finished runs, and their predictions of the last epoch."""
    rng, runs = np.random.default_rng(seed), []
    means = rng.standard_normal((30, 3))
    for part in range(models):
        work_dir = folder / f'seed{part}'
        for epoch in epochs:
            log_p = log_softmax(means + std * rng.standard_normal((30, 3)), axis=-1)
            write_array(work_dir / FOLDER / f'epoch_{epoch}.npy', log_p)
        write_array(work_dir / FOLDER / 'labels.npy', LABELS)
        result = Result(part, 80.0 + part, 90.0, 1.0, 'a machine', [])
        (work_dir / 'result.json').write_text(json.dumps(asdict(result)))
        needs = (Run(Path('t.py'), part % teachers, folder / f'teacher{part % teachers}'), ) if teachers else ()
        runs.append(Run(Path('c.py'), part, work_dir, needs=needs))
    return runs, [np.load(run.work_dir / FOLDER / f'epoch_{max(epochs)}.npy') for run in runs if epochs]


def test_a_finding_is_the_decomposition_of_what_the_runs_left(tmp_path):
    runs, last = fake_runs(tmp_path)
    (finding, ), left_out = measure(plan(), {HARD: runs})
    assert left_out == []
    assert finding.last == decompose(last, LABELS).totals()
    assert (list(finding.epochs), finding.models, finding.samples) == ([1, 2], 6, 30)
    assert finding.accuracy == (82.5, pytest.approx(np.std(range(6), ddof=1)))
    for kind in (finding.over_samples, finding.over_models):
        assert all(low < finding.last[quantity] < high for quantity, (low, high) in kind.items())
    assert (finding.within, finding.difference, finding.irreducible) == (None, None, None)


def test_the_difference_from_the_first_method_is_paired(tmp_path):
    hard, _ = fake_runs(tmp_path / 'a', std=1.5)
    kd, _ = fake_runs(tmp_path / 'b', std=.5)
    first, second = measure(plan(), {HARD: hard, KD: kd})[0]
    assert second.difference['variance'] == second.last['variance'] - first.last['variance'] < 0
    low, high = second.difference['over_samples']['variance']
    assert low < second.difference['variance'] < high < 0
    same = measure(plan(), {HARD: hard, KD: hard})[0][1]
    assert same.difference['over_models'] == dict.fromkeys(('error', 'bias', 'variance'), (0, 0))


@pytest.mark.parametrize('models', [5, 6])
def test_students_of_shared_teachers_have_their_variance_split(tmp_path, models):
    hard, _ = fake_runs(tmp_path / 'a', models)
    runs, last = fake_runs(tmp_path / 'b', models, seed=1, teachers=2)
    (alone, finding), _ = measure(plan(models), {HARD: hard, KD: runs})
    found = decompose(last, LABELS, ([0, 1] * 3)[:models])
    assert finding.last == found.totals()
    assert (finding.within, finding.between) == (found.within.mean(), found.between.mean())
    assert finding.last['bias'] + finding.last['variance'] == pytest.approx(finding.last['error'])
    assert finding.teachers == 2
    assert finding.notes[0].startswith(f'{models} models have 2 teachers: the variance holds 60% of what differs')
    for kind in (finding.over_samples, finding.over_models, finding.difference['over_models']):
        assert all(np.isfinite(ends).all() and ends[0] < ends[1] for ends in kind.values())
    assert (alone.within, alone.between, alone.teachers) == (None, None, None)


def test_students_of_one_teacher_are_told_to_be_so_and_those_with_one_each_are_as_without(tmp_path):
    one, last = fake_runs(tmp_path / 'a', teachers=1)
    finding, = measure(plan(teachers=1), {KD: one})[0]
    assert (finding.within, finding.between, finding.teachers) == (None, None, 1)
    assert 'All 6 models have one teacher' in finding.notes[0]
    own, last = fake_runs(tmp_path / 'b', teachers=6)
    finding, = measure(plan(teachers=6), {KD: own})[0]
    assert (finding.within, finding.teachers, finding.notes) == (None, 6, ())
    assert finding.last == decompose(last, LABELS).totals()


def test_known_posteriors_take_the_place_of_the_labels(tmp_path):
    runs, last = fake_runs(tmp_path)
    posterior = softmax(np.random.default_rng(1).standard_normal((30, 3)), axis=-1)
    for run in runs:
        write_array(run.work_dir / FOLDER / 'posteriors.npy', posterior)
    (finding, ), _ = measure(plan(), {HARD: runs})
    assert finding.last == decompose(last, posterior).totals()
    assert finding.irreducible == entropy(posterior).mean()


def test_few_models_are_not_resampled(tmp_path):
    runs, _ = fake_runs(tmp_path, models=4)
    assert measure(plan(4), {HARD: runs})[0][0].over_models is None


def test_a_method_of_which_runs_are_missing_is_left_out_and_told(tmp_path):
    hard, _ = fake_runs(tmp_path / 'a')
    kd, _ = fake_runs(tmp_path / 'b')
    (kd[3].work_dir / 'result.json').unlink()
    findings, left_out = measure(plan(), {HARD: hard, KD: kd})
    assert [finding.method for finding in findings] == ['hard labels']
    assert left_out == ['KD, τ = 4: left out, 5 of 6 runs are finished.']
    assert measure(plan(), {HARD: kd, KD: hard})[0][0].difference is None


@pytest.mark.parametrize(('epoch', 'value'), [(1, np.nan), (2, -np.inf)])
def test_a_method_that_diverged_is_left_out_and_told_and_the_others_are_as_without_it(tmp_path, epoch, value):
    hard, _ = fake_runs(tmp_path / 'a')
    kd, _ = fake_runs(tmp_path / 'b', seed=1)
    other, _ = fake_runs(tmp_path / 'c', seed=2)
    for part, samples in ((3, 1), (5, 30)):
        path = kd[part].work_dir / FOLDER / f'epoch_{epoch}.npy'
        log_p = np.load(path)
        log_p[:samples, 1] = value
        write_array(path, log_p)
    wsld = Method('WSLD', Path('w.py'))
    findings, (told, ) = measure(plan(), {HARD: hard, KD: kd, wsld: other})
    assert findings == measure(plan(), {HARD: hard, wsld: other})[0]
    assert told.startswith('KD, τ = 4: left out, ')
    assert f'{kd[3].work_dir}, 1 of 30 samples in epoch {epoch}; {kd[5].work_dir}, 30 of 30 samples' in told
    assert 'move the folder away' in told


def test_a_cut_file_stops_the_report_with_its_path(tmp_path):
    runs, _ = fake_runs(tmp_path)
    path = runs[2].work_dir / FOLDER / 'epoch_2.npy'
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(RunError, match=r"seed2/log_probabilities/epoch_2\.npy .* Move the run's folder away"):
        measure(plan(), {HARD: runs})


def test_runs_that_saw_other_samples_or_epochs_are_refused(tmp_path):
    runs, _ = fake_runs(tmp_path / 'a')
    write_array(runs[2].work_dir / FOLDER / 'labels.npy', (LABELS + 1) % 3)
    with pytest.raises(RunError, match=r'seed2 and .*seed0 were validated on different samples'):
        measure(plan(), {HARD: runs})
    runs, _ = fake_runs(tmp_path / 'b')
    (runs[1].work_dir / FOLDER / 'epoch_1.npy').unlink()
    with pytest.raises(RunError, match=r'seed1 has predictions of the epochs \[2\]'):
        measure(plan(), {HARD: runs})


def test_methods_that_saw_other_samples_are_refused(tmp_path):
    hard, _ = fake_runs(tmp_path / 'a')
    kd, _ = fake_runs(tmp_path / 'b')
    for run in kd:
        write_array(run.work_dir / FOLDER / 'labels.npy', (LABELS + 1) % 3)
    with pytest.raises(RunError, match=r'b/seed0 and .*a/seed0 were validated on different samples'):
        measure(plan(), {HARD: hard, KD: kd})
    # also where the first method of the plan is left out
    (hard[0].work_dir / 'result.json').unlink()
    other, _ = fake_runs(tmp_path / 'c')
    with pytest.raises(RunError, match=r'c/seed0 and .*b/seed0 were validated on different samples'):
        measure(plan(), {HARD: hard, KD: kd, Method('WSLD', Path('w.py')): other})


def test_runs_with_other_posteriors_are_refused(tmp_path):
    posterior = softmax(np.random.default_rng(1).standard_normal((30, 3)), axis=-1)
    hard, _ = fake_runs(tmp_path / 'a')
    kd, _ = fake_runs(tmp_path / 'b')
    for run in hard + kd[:-1]:
        write_array(run.work_dir / FOLDER / 'posteriors.npy', posterior)
    with pytest.raises(RunError, match=r'b/seed5 and .*a/seed0 were validated on different samples'):
        measure(plan(), {HARD: hard, KD: kd})
    write_array(kd[-1].work_dir / FOLDER / 'posteriors.npy', posterior[::-1])
    with pytest.raises(RunError, match='b/seed5'):
        measure(plan(), {HARD: hard, KD: kd})


def test_more_epochs_take_no_more_memory(tmp_path):
    peaks = []
    for epochs in (2, 12):
        runs, _ = fake_runs(tmp_path / str(epochs), models=4, epochs=())
        rng = np.random.default_rng(0)
        for run in runs:
            write_array(run.work_dir / FOLDER / 'labels.npy', np.arange(2000) % 50)
            for epoch in range(epochs):
                log_p = log_softmax(rng.standard_normal((2000, 50), np.float32), axis=-1)
                write_array(run.work_dir / FOLDER / f'epoch_{epoch + 1}.npy', log_p)
        tracemalloc.start()
        measure(plan(4), {HARD: runs})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
