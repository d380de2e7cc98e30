import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from factories import digits_classifier, digits_distillation, run_cfg
from mmengine.config import ConfigDict
from processes import ROOT, children, run, start, tool

from wsld_plugin import errors
from wsld_plugin.engine.launch import options_from, prepare_launch, stop_with_reason
from wsld_plugin.engine.training import evaluate, evaluation_config, train, training_config
from wsld_plugin.errors import ConfigError

needs_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason='concerns machines without a GPU')


def without_batchnorm():
    """LeNet-5: its step on a joined batch is the mean of the steps on its parts."""
    cfg = digits_classifier()
    cfg['backbone'] = dict(type='LeNet5')
    cfg['head']['in_channels'] = 120
    return cfg


def config_file(tmp_path, name, batch_size):
    model = digits_distillation(architecture=without_batchnorm(), teacher=without_batchnorm())
    cfg = run_cfg(tmp_path / name, model)
    cfg.custom_imports = dict(imports=['wsld_plugin', 'rank_weights'])
    cfg.custom_hooks = [dict(type='SaveRankWeights'), dict(type='wsld_plugin.SoftLabelMonitorHook')]
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.pipeline.insert(0, dict(type='mmcv.Resize', scale=(32, 32)))
    cfg.train_dataloader.batch_size = batch_size
    path = tmp_path / f'{name}.py'
    cfg.dump(path)
    return path


def weights(folder, rank):
    return torch.load(folder / f'rank{rank}.pth', weights_only=True)


@needs_cpu
def test_two_gloo_processes_end_with_the_weights_and_measures_of_one_process_on_the_joined_batch(tmp_path):
    tool('dist_train.sh', config_file(tmp_path, 'two', batch_size=10), 2)
    train(training_config(str(config_file(tmp_path, 'one', batch_size=20))))
    first, second, alone = weights(tmp_path / 'two', 0), weights(tmp_path / 'two', 1), weights(tmp_path / 'one', 0)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        torch.testing.assert_close(value, alone[name], rtol=1e-4, atol=1e-6)
    monitored = (json.loads((tmp_path / name / 'soft_label_monitor/epochs.json').read_text())
                 for name in ('two', 'one'))
    for epoch, expected in zip(*monitored, strict=True):
        for measure in ('regularization_label', 'weight', 'bias_norm', 'student_ce', 'count'):
            assert epoch[measure] == pytest.approx(expected[measure], rel=1e-4), measure
    assert (tmp_path / 'two/student_last.pth').is_file()
    tool('dist_test.sh', tmp_path / 'two.py', tmp_path / 'two/student_last.pth', 2, '--out', tmp_path / 'two.json')
    cfg = evaluation_config(str(tmp_path / 'two.py'), work_dir=str(tmp_path / 'test'))
    assert json.loads((tmp_path / 'two.json').read_text()) == evaluate(cfg, str(tmp_path / 'two/epoch_2.pth'))


@needs_cpu
def test_a_group_of_which_one_process_is_killed_starts_again_from_its_last_checkpoint(tmp_path):
    config = config_file(tmp_path, 'two', batch_size=10)
    process = start('bash', 'tools/dist_train.sh', config, 2, '--work-dir', tmp_path / 'killed', '--max-restarts', 1,
                    '--cfg-options', 'train_cfg.max_epochs=20')
    while not list((tmp_path / 'killed').glob('epoch_*.pth')) and process.poll() is None:
        time.sleep(.01)
    victim, _ = children(process.pid)
    os.kill(victim, signal.SIGKILL)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    assert 'resumed epoch: ' in printed
    tool('dist_train.sh', config, 2, '--work-dir', tmp_path / 'whole', '--cfg-options', 'train_cfg.max_epochs=20')
    killed, whole = (torch.load(tmp_path / name / 'student_last.pth', weights_only=True)['state_dict']
                     for name in ('killed', 'whole'))
    assert all(torch.equal(killed[name], value) for name, value in whole.items())


@needs_cpu
def test_without_a_restart_the_others_end_soon_after_one_is_killed(tmp_path):
    process = start('bash', 'tools/dist_train.sh', config_file(tmp_path, 'two', batch_size=10), 2, '--cfg-options',
                    'train_cfg.max_epochs=1000')
    while not list((tmp_path / 'two').glob('epoch_*.pth')) and process.poll() is None:
        time.sleep(.01)
    victim, other = children(process.pid)
    os.kill(victim, signal.SIGKILL)
    process.communicate(timeout=10)
    assert process.returncode
    assert not Path(f'/proc/{other}').exists()


@needs_cpu
def test_one_process_changes_no_config_and_other_launchers_need_a_gpu():
    cfg = ConfigDict(launcher='none')
    prepare_launch(cfg)
    assert cfg == dict(launcher='none')
    with pytest.raises(ConfigError, match=r'dist_train\.sh'):
        prepare_launch(ConfigDict(launcher='mpi'))
    with pytest.raises(ConfigError, match='Slurm did not start this process'):
        prepare_launch(ConfigDict(launcher='slurm'))


@needs_cpu
def test_no_thread_of_gloo_outlives_a_run_and_a_late_one_does_not_deadlock():
    """The late thread frees a tensor, for which it needs the GIL."""
    code = '''
import glob, os, torch
from mmengine.config import ConfigDict
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from wsld_plugin.engine.launch import launched, stop_with_reason

os.environ.update(RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='0')

def gloo_threads():
    return [open(name).read() for name in glob.glob('/proc/self/task/*/comm') if 'gloo' in open(name).read()]

def run():
    with launched(ConfigDict(launcher='pytorch')):
        cycle = [DistributedDataParallel(nn.Linear(1, 1))]
        cycle.append(cycle)  # like a Runner and its hooks
        assert gloo_threads()

with stop_with_reason():
    run()
assert not gloo_threads(), gloo_threads()
destroy = distributed.destroy_process_group

def destroy_in_the_middle():
    distributed.all_reduce(torch.ones(1), async_op=True)
    destroy()

distributed.destroy_process_group = destroy_in_the_middle
for _ in range(10):
    with stop_with_reason():
        run()
'''
    run(sys.executable, '-c', code, PYTHONPATH=str(ROOT))


def test_options_are_parsed_as_openmmlab_parses_them_and_need_a_value():
    assert options_from(['a.b=1', 'c=[2,x]', 'd=(1,)', 'e=1e-4', 'f=None', 'g=a=b']) == {
        'a.b': 1, 'c': [2, 'x'], 'd': (1, ), 'e': 1e-4, 'f': None, 'g': 'a=b'}
    assert options_from(None) is None
    with pytest.raises(ConfigError, match='KEY=VALUE'):
        options_from(['a.b'])


@pytest.mark.parametrize(('error', 'code', 'said'), [
    (errors.RunError('the reason'), 1, 'RunError: the reason\n'),
    (FileNotFoundError('the reason'), 1, 'FileNotFoundError: the reason\n'),
    (KeyboardInterrupt(), 130, '\nContinue.\n')])
def test_a_users_error_and_an_interruption_are_printed_and_any_other_error_keeps_its_traceback(
        error, code, said, capsys):
    with pytest.raises(SystemExit) as exit_, stop_with_reason('Continue.'):
        raise error
    assert exit_.value.code == code
    assert capsys.readouterr().err == said
    with pytest.raises(ZeroDivisionError), stop_with_reason('Continue.'):
        1 / 0  # noqa: B018
