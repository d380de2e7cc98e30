import json
import signal
import sys
import time
from pathlib import Path

import pytest
from processes import run, start

CONFIG = Path(__file__).parents[2] / 'configs/baselines/resnet18-w8_digits.py'
PLAN = f"""
title = 'Two students'
parts = 12
size = 30
models = 2
every = 1
options = {{'train_dataloader.dataset.num_samples': None, 'train_cfg.max_epochs': 16,
           'default_hooks.checkpoint.interval': 1}}
rows = [dict(name='students', cells=[dict(method='hard labels', config='{CONFIG}')])]
"""


@pytest.mark.slow
def test_a_stopped_study_resumes_its_unfinished_run_and_splits_the_error(tmp_path):
    (tmp_path / 'plan.py').write_text(PLAN)
    command = ('tools/bias_variance.py', tmp_path / 'plan.py', '--work-dir', tmp_path / 'runs', '--jobs', 1)
    process = start(sys.executable, *command)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob('runs/*/seed1/epoch_[3-9].pth')) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(.05)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert printed.endswith('\nStopped. Run the same command again to resume.\n')
    assert 'Traceback' not in printed
    assert not list(tmp_path.glob('runs/*.json'))

    done, stopped = (path for number in range(2) for path in tmp_path.glob(f'runs/*/seed{number}'))
    assert (done / 'result.json').exists()
    assert not (stopped / 'result.json').exists()
    before = {path: path.stat().st_mtime_ns for path in done.rglob('*')}
    recorded = {path: path.stat().st_mtime_ns for path in stopped.glob('log_probabilities/epoch_*.npy')}
    assert 2 <= len(recorded) < 16

    assert '1 of 2 runs are finished' in run(sys.executable, *command).stdout
    assert {path: path.stat().st_mtime_ns for path in done.rglob('*')} == before
    kept = [path for path, written in recorded.items() if path.stat().st_mtime_ns == written]
    assert len(kept) >= len(recorded) - 1  # an epoch without its checkpoint is repeated
    finding, = json.loads((tmp_path / 'runs/plan_bias_variance.json').read_text())['findings']
    assert (finding['models'], finding['samples']) == (2, 597)
    assert list(finding['epochs']) == [str(epoch) for epoch in range(1, 17)]
    for totals in finding['epochs'].values():
        assert totals['error'] == pytest.approx(totals['bias'] + totals['variance'])
        assert totals['variance'] > 0
