"""SIGKILL at random moments and --resume: weights and exported student of an uninterrupted run, to the bit."""
import json
import random
import signal
import sys
import time

import pytest
import torch
from caches import AUGMENTED, cached_cfg
from factories import digits_distillation, run_cfg
from processes import kill_all, start, tool

from wsld_plugin.engine.training import train, training_config

KILLS = 20  # of each setting
EVERY_ITERATION = dict(type='wsld_plugin.CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=2)


def plain(folder):
    return run_cfg(folder, digits_distillation(), epochs=6)


def accumulated(folder):
    """Averaged weights, an accumulation over the ends of epochs, a worker, a checkpoint after each iteration."""
    cfg = run_cfg(folder, digits_distillation(), epochs=6, custom_hooks=[dict(type='EMAHook')])
    cfg.optim_wrapper.accumulative_counts = 3
    cfg.train_dataloader.num_workers = 1
    cfg.default_hooks.checkpoint = EVERY_ITERATION
    return cfg


def bfloat16(folder):
    return run_cfg(folder, digits_distillation(), epochs=6, accelerate=dict(amp='bf16', resident=True))


def cached(folder):
    cfg = cached_cfg(folder, pipeline=AUGMENTED, teacher=dict(views=2), epochs=6)
    for part in ('dataset', 'sampler'):
        cfg.train_dataloader[part] = cfg.train_dataloader[part][part]
    return cfg


SETTINGS = [plain, accumulated, bfloat16, cached]


@pytest.fixture(scope='module')
def expected(tmp_path_factory):
    """By setting: the config's file, seconds of its training, and its final weights."""
    found = {}

    def of(setting, processes):
        if (setting, processes) not in found:
            folder = tmp_path_factory.mktemp('expected')
            cfg = setting(folder)
            cfg.pop('work_dir')
            cfg.default_hooks.resume_validation = dict(type='wsld_plugin.ResumeValidationHook')
            cfg.dump(folder / 'config.py')
            begin = time.monotonic()
            finish(folder / 'config.py', folder / 'whole', processes)
            found[setting, processes] = folder / 'config.py', time.monotonic() - begin, weights(folder / 'whole')
        return found[setting, processes]
    return of


def finish(config, work_dir, processes):
    if processes == 1:
        torch.set_num_threads(1)
        name = f'{work_dir.name}_{time.monotonic_ns()}'  # mmengine keeps one logger for every name
        train(training_config(str(config), work_dir=str(work_dir), resume=True, options=dict(experiment_name=name)))
    else:
        tool('dist_train.sh', config, processes, '--work-dir', work_dir, '--resume')


def weights(work_dir):
    """Of the last checkpoint, after the exported student was compared with it."""
    last = torch.load(work_dir / (work_dir / 'last_checkpoint').read_text().rpartition('/')[2], weights_only=False)
    student = torch.load(work_dir / 'student_last.pth', weights_only=True)['state_dict']
    if 'ema_state_dict' not in last:
        assert all(torch.equal(last['state_dict'][f'architecture.{name}'], value) for name, value in student.items())
    return {**last['state_dict'], **{f'student_last.{name}': value for name, value in student.items()}}


@pytest.mark.parametrize(('setting', 'processes', 'number'), [
    pytest.param(setting, processes, number, id=f'{setting.__name__}-{processes}-{number}',
                 marks=[] if (number, processes) == (0, 1) and setting is accumulated else pytest.mark.slow)
    for setting, processes in [*((setting, 1) for setting in SETTINGS), (plain, 2)] for number in range(KILLS)])
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(expected, tmp_path, setting, processes, number):
    config, seconds, whole = expected(setting, processes)
    command = [sys.executable, 'tools/train.py', config] if processes == 1 else \
        ['bash', 'tools/dist_train.sh', config, processes]
    process = start(*command, '--work-dir', tmp_path / 'run')
    while not (tmp_path / 'run/.training').exists() and process.poll() is None:
        time.sleep(.01)
    time.sleep(random.Random(f'{setting.__name__} {processes} {number}').uniform(0, seconds))
    kill_all(signal.SIGKILL, process.pid)
    process.communicate()
    finish(config, tmp_path / 'run', processes)
    found = weights(tmp_path / 'run')
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], value) for name, value in whole.items())
    scalars = [json.loads(line) for path in sorted((tmp_path / 'run').glob('*/vis_data/scalars.json'))
               for line in path.read_text().splitlines() if line.endswith('}')]
    assert {record['step'] for record in scalars if 'accuracy/top1' in record} >= {6}
