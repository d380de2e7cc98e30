import json
import signal
import sys
import time
from pathlib import Path

import pytest
from processes import run, start

CONFIG = Path(__file__).parents[2] / 'configs/baselines/resnet18-w8_digits.py'
PLAN = f"""
parts = 12
size = 30
models = 2
every = 1
options = {{'train_dataloader.dataset.num_samples': None, 'train_cfg.max_epochs': 16,
           'default_hooks.checkpoint.interval': 1}}
methods = [dict(name='hard labels', config='{CONFIG}')]
"""
# as a shell starts a command, or one with "&", which ignores Ctrl-C
STARTED = ('import os, signal, sys; signal.signal(signal.SIGINT, signal.{}); '
           'os.execv(sys.executable, [sys.executable, *sys.argv[1:]])')


@pytest.mark.slow
@pytest.mark.parametrize(('number', 'of_ctrl_c'), [(signal.SIGINT, 'SIG_DFL'), (signal.SIGTERM, 'SIG_IGN')],
                         ids=['SIGINT', 'SIGTERM'])
def test_a_stopped_study_goes_on_with_what_was_not_finished(tmp_path, number, of_ctrl_c):
    (tmp_path / 'plan.py').write_text(PLAN)
    command = ('tools/bias_variance.py', tmp_path / 'plan.py', '--work-dir', tmp_path / 'runs', '--jobs', 1)
    process = start(sys.executable, '-c', STARTED.format(of_ctrl_c), *command)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob('runs/*/seed1/epoch_[3-9].pth')) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(.05)
    process.send_signal(number)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert told.endswith('\nStopped. The same command goes on from here.\n')
    assert 'Traceback' not in told
    assert not list(tmp_path.glob('runs/*.json'))

    done, stopped = (path for number in range(2) for path in tmp_path.glob(f'runs/*/seed{number}'))
    assert (done / 'result.json').exists()
    assert not (stopped / 'result.json').exists()
    before = {path: path.stat().st_mtime_ns for path in done.rglob('*')}
    looks = {path: path.stat().st_mtime_ns for path in stopped.glob('log_probabilities/epoch_*.npy')}
    assert 2 <= len(looks) < 16

    again = run(sys.executable, *command).stdout
    assert '1 of 2 runs are there' in again
    assert {path: path.stat().st_mtime_ns for path in done.rglob('*')} == before
    kept = [path for path, written in looks.items() if path.stat().st_mtime_ns == written]
    assert len(kept) >= len(looks) - 1  # but for an epoch without its checkpoint
    finding, = json.loads((tmp_path / 'runs/plan_bias_variance.json').read_text())['findings']
    assert list(finding['epochs']) == [str(epoch) for epoch in range(1, 17)]
