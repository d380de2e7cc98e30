import itertools
import json
import re
import runpy
import signal
import sys
import time

import pytest
import torch
from factories import digits_distillation, run_cfg
from processes import ROOT, run, start, tool

PYTHON = sys.executable


def config_file(tmp_path, model=None, **overrides):
    cfg = run_cfg(tmp_path / 'run', model or digits_distillation(), **overrides)
    cfg.pop('work_dir')
    path = tmp_path / 'run.py'
    cfg.dump(path)
    return path


@pytest.fixture
def main(monkeypatch, capfd):
    """Calls a tool's ``main`` in this process, with one thread as in the others; returns its status and output."""
    monkeypatch.syspath_prepend(ROOT / 'tools')
    monkeypatch.chdir(ROOT)
    threads, runs = torch.get_num_threads(), itertools.count()
    torch.set_num_threads(1)

    def call(name, *arguments):
        arguments = [str(part) for part in arguments]
        if '--cfg-options' not in arguments:
            arguments.append('--cfg-options')
        arguments.append(f'experiment_name=main_{id(runs)}_{next(runs)}')  # mmengine keeps one logger for every name
        try:
            runpy.run_path(f'tools/{name}')['main'](arguments)
        except SystemExit as exit_:
            return exit_.code, ''.join(capfd.readouterr())
        return 0, ''.join(capfd.readouterr())
    yield call
    torch.set_num_threads(threads)


def test_train_kill_resume_and_test_give_the_weights_of_an_uninterrupted_run(tmp_path, main):
    config, work_dir = config_file(tmp_path, epochs=10), tmp_path / 'killed'
    process = start(PYTHON, 'tools/train.py', config, '--work-dir', work_dir)
    deadline = time.monotonic() + 120
    while not list(work_dir.glob('epoch_*.pth')) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, 'the run ended before it could be killed'
    code, log = main('train.py', config, '--work-dir', work_dir, '--resume')
    assert code == 0
    epoch = int(re.search(r'resumed epoch: (\d+)', log)[1])
    assert 1 <= epoch < 10

    assert main('train.py', config, '--work-dir', tmp_path / 'whole')[0] == 0
    resumed, whole = (torch.load(folder / 'student_last.pth', weights_only=True)['state_dict']
                      for folder in (work_dir, tmp_path / 'whole'))
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name

    metrics = []
    for checkpoint in ('epoch_10.pth', 'student_last.pth'):
        main('test.py', config, work_dir / checkpoint, '--out', tmp_path / 'metrics.json')
        metrics.append(json.loads((tmp_path / 'metrics.json').read_text()))
    assert metrics[0] == metrics[1]


def test_a_trained_folder_is_not_overwritten_and_a_named_checkpoint_is_resumed(tmp_path, main):
    config, work_dir = config_file(tmp_path, epochs=1), tmp_path / 'run'
    assert main('train.py', config, '--work-dir', work_dir, '--no-validate')[0] == 0
    before = (work_dir / 'epoch_1.pth').read_bytes()
    code, printed = main('train.py', config, '--work-dir', work_dir)
    assert code == 1
    assert '--resume' in printed
    assert (work_dir / 'epoch_1.pth').read_bytes() == before
    more = ('train.py', config, '--work-dir', tmp_path / 'more', '--resume')
    assert 'has no message_hub and no optimizer' in main(*more, work_dir / 'student_last.pth')[1]
    _, printed = main(*more, work_dir / 'epoch_1.pth', '--amp', '--cfg-options', 'train_cfg.max_epochs=2')
    assert 'resumed epoch: 1' in printed
    assert (tmp_path / 'more/epoch_2.pth').is_file()


def test_the_test_tool_reads_no_teacher(tmp_path, main):
    config = config_file(tmp_path, digits_distillation(teacher_ckpt='nowhere/teacher.pth'))
    torch.save(torch.nn.Module().state_dict(), tmp_path / 'empty.pth')
    code, printed = main('test.py', config, tmp_path / 'empty.pth')
    assert code == 1
    assert 'holds no weights' in printed


@pytest.mark.parametrize(('arguments', 'words'), [
    (('configs/wsld/wsld_resnet34_resnet18_8xb32_in1q.py', ), 'wsld_resnet34_resnet18_8xb32_in1k.py'),
    (('configs/baselines/resnet18-w8_digits.py', '--cfg-options', 'model.backbone.base_chanels=8'), 'base_channels'),
    (('configs/baselines/resnet18-w8_digits.py', '--cfg-options', 'oops'), 'KEY=VALUE'),
    (('configs/wsld/wsld_resnet18-w32_resnet18-w8_digits.py', '--cfg-options',
      'model.teacher_ckpt=nowhere/teacher.pth'), 'nowhere/teacher.pth'),
    (('configs/baselines/resnet18-w8_digits.py', '--resume', 'nowhere/epoch_1.pth'), 'nowhere/epoch_1.pth'),
])
def test_a_users_mistake_is_a_message_without_a_traceback(tmp_path, main, arguments, words):
    code, printed = main('train.py', '--work-dir', tmp_path / 'run', *arguments)
    assert code == 1
    assert words in printed
    assert 'Traceback' not in printed


def test_help_answers_without_importing_torch():
    tools = sorted(path.name for path in (ROOT / 'tools').glob('[!_]*.py'))
    code = ("import runpy, sys; sys.path.insert(0, 'tools')\n"
            f'for name in {tools}:\n'
            "    sys.argv = [name, '--help']\n"
            "    try: runpy.run_path('tools/' + name, run_name='__main__')\n"
            '    except SystemExit: pass\n'
            "    assert not {'torch', 'mmengine', 'numpy'} & set(sys.modules), name + ' imports something heavy'")
    printed = run(PYTHON, '-c', code).stdout
    assert all(f'usage: {name}' in printed for name in tools)


@pytest.mark.parametrize('name', sorted(path.name for path in (ROOT / 'tools').glob('[!_]*.sh')))
def test_a_launcher_without_arguments_says_how_it_is_called(name):
    done = tool(name, check=False)
    assert done.returncode == 2
    assert f'bash tools/{name} ' in done.stderr


@pytest.mark.parametrize('name', ['slurm_train.sh', 'slurm_test.sh'])
def test_slurm_is_asked_for_one_process_a_gpu(tmp_path, name):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    files = ('c.py', ) if 'train' in name else ('c.py', 'w.pth')
    out = tool(name, 'part', 'job', *files, '--work-dir', 'w', GPUS='16', SRUN_ARGS='--exclusive --mem=0',
               PATH=f'{tmp_path}:/usr/bin:/bin').stdout
    script = f'tools/{name[6:-3]}.py'
    assert '-p part --job-name=job --gres=gpu:8 --ntasks=16 --ntasks-per-node=8' in out
    command = f'{PYTHON} -u {script} {" ".join(files)} --work-dir w --launcher slurm'
    assert out.strip().endswith(f'--exclusive --mem=0 {command}')
