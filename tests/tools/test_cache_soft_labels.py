"""Caching, and training with the cache, as a user does it."""
import json
import re
import signal
import sys
import time

import pytest
from caches import AUGMENTED, cached_cfg, live_cfg
from processes import start, tool

from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.engine.training import train
from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels.store import HEADER, PROGRESS, SoftLabels

VIEWS = 200


def config_file(path, cfg):
    cfg.pop('work_dir')
    cfg.dump(path)
    return path


def losses(work_dir):
    log, = work_dir.glob('*/vis_data/scalars.json')
    return [record['loss'] for record in map(json.loads, log.read_text().splitlines()) if 'loss' in record]


def done(folder):
    path = folder / PROGRESS
    return json.loads(path.read_text())['done'] if path.is_file() else 0


def test_a_killed_caching_continues_and_training_with_it_is_training_with_the_teacher(tmp_path):
    folder = tmp_path / 'cache'
    live = config_file(tmp_path / 'live.py', live_cfg(tmp_path, pipeline=AUGMENTED))
    command = (live, '--views', VIEWS, '--out', folder)
    process, deadline = start(sys.executable, 'tools/cache_soft_labels.py', *command), time.monotonic() + 120
    while not done(folder) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, 'it was complete before it could be killed'
    kept = done(folder)
    assert kept > 0
    assert not (folder / HEADER).exists()
    with pytest.raises(ConfigError, match='not complete'):
        SoftLabels(folder)

    log = tool('cache_soft_labels.py', *command, '--verify', 20).stdout
    assert f'writing 8,000 soft labels, {kept:,} exist' in log
    assert re.search(r'20 soft labels computed again, largest difference \d\.\de-\d+ nats', log)
    assert '40 images, 200 views, 28 bytes each, 224,000 bytes, seed 0' in log

    cfg = cached_cfg(tmp_path, pipeline=AUGMENTED, teacher=dict(views=VIEWS, make='never'))
    log = tool('train.py', config_file(tmp_path / 'cached.py', cfg), '--work-dir', tmp_path / 'run',
               '--no-validate').stdout
    assert '8 soft labels computed again' in log
    expected = live_cfg(tmp_path, pipeline=AUGMENTED)
    expected.val_dataloader = expected.val_evaluator = expected.val_cfg = None
    key_training_set(expected)
    train(expected)
    assert losses(tmp_path / 'run') == pytest.approx(losses(tmp_path / 'live'), rel=2e-3)
