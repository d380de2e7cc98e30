import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from processes import start, tool

from wsld_plugin.engine.launch import options_from
from wsld_plugin.studies import table
from wsld_plugin.studies.plan import load_plan
from wsld_plugin.studies.runs import accuracy_curve

SHORT = ('--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1')
DIGITS = 'configs/reproduce/digits.py'


def reproduce(work_dir, *arguments, **options):
    return tool('reproduce.py', DIGITS, '--work-dir', work_dir, *arguments, *SHORT, **options)


def folder_of(work_dir, name):
    plan = load_plan(DIGITS, seeds=[0], options=options_from(list(SHORT[1:])))
    return next(run.work_dir for runs in plan.runs(work_dir).values() for run in runs if run.config.stem == name)


@pytest.mark.slow
def test_a_second_call_repeats_only_a_failed_run_and_the_table_has_the_others(tmp_path):
    arguments = ('--seeds', 0, '--methods', 'KD', 'label smoothing')
    assert 'No run is finished' in reproduce(tmp_path, *arguments, '--report-only').stdout
    folder = folder_of(tmp_path, 'lsr_resnet18-w8_digits')
    folder.mkdir(parents=True)
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
    (folder / 'epoch_1.pth').write_bytes(b'no checkpoint')
    first = reproduce(tmp_path, *arguments, check=False)
    assert first.returncode == 1
    assert 'lsr_resnet18-w8_digits, seed 0 failed' in first.stderr
    assert 'train.log' in first.stderr
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob('*/**/*')
              if path.is_file() and folder not in path.parents}
    again = reproduce(tmp_path, *arguments, check=False)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again.stdout.split('\n\n')[-3:] == first.stdout.split('\n\n')[-3:]

    lines = json.loads((tmp_path / 'digits.json').read_text())['lines']
    assert {line['method']: line['n'] for line in lines} == {'KD': 1, 'label smoothing': 0}
    assert 0 <= lines[0]['last']['mean'] <= lines[0]['best']['mean'] <= 100
    text = (tmp_path / 'digits.md').read_text()
    assert '| small student | KD ' in text
    assert 'train_cfg.max_epochs=1\ntrain_cfg.val_interval=1\n' in text
    assert len(list(tmp_path.glob('*/seed0/result.json'))) == 2  # KD's teacher too


def test_an_interrupted_table_resumes(tmp_path):
    options = ('train_cfg.max_epochs=20', 'train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1',
               'train_dataloader.dataset.num_samples=64', 'val_dataloader.dataset.num_samples=20')
    process = start('sh', '-c', 'trap "" INT; exec "$@"', 'sh', sys.executable, 'tools/reproduce.py', DIGITS,
                    '--work-dir', tmp_path, '--seeds', 0, '--rows', 'small student', '--methods', 'student alone',
                    '--cfg-options', *options)  # as a script's "&"
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob('*/seed0/epoch_[3-9].pth')) and time.monotonic() < deadline:
        time.sleep(.05)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed.endswith('\nStopped. Run the same command again to resume.\n')
    assert 'Traceback' not in printed
    run, = tmp_path.glob('*/seed0')
    assert not (run / 'result.json').exists()
    assert not _processes_with(str(run))

    reached = accuracy_curve(run)[-1][0]
    plan = load_plan(DIGITS, seeds=[0], rows=['small student'], methods=['student alone'],
                     options=options_from(list(options)))
    table.reproduce(plan, tmp_path, os.cpu_count())
    result = json.loads((run / 'result.json').read_text())
    assert [epoch for epoch, _ in result['curve']] == list(range(1, 21))
    second = sorted(run.glob('*/vis_data/scalars.json'))[-1].read_text().splitlines()
    assert json.loads(second[0])['step'] >= reached  # no epoch is repeated


def _processes_with(argument):
    commands = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        with contextlib.suppress(OSError):  # it has just ended
            commands.append(path.read_text())
    return [command for command in commands if argument in command]


@pytest.mark.slow
def test_soft_labels_help_a_student_of_few_labels(tmp_path):
    tool('reproduce.py', DIGITS, '--work-dir', tmp_path, '--rows', 'small student', '--methods', 'teacher',
         'student alone', 'KD', 'WSLD')
    lines = json.loads((tmp_path / 'digits.json').read_text())['lines']
    accuracy = {line['method']: line['last']['mean'] for line in lines}
    for method in ('KD', 'WSLD'):
        assert accuracy['student alone'] < accuracy[method] < accuracy['teacher']
