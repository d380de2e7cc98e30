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


def test_train_kill_resume_and_test_give_the_weights_of_an_uninterrupted_run(tmp_path):
    config, work_dir = config_file(tmp_path, epochs=15), tmp_path / 'killed'
    process = start(PYTHON, 'tools/train.py', config, '--work-dir', work_dir)
    deadline = time.monotonic() + 120
    while not (work_dir / 'epoch_3.pth').exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, 'the run ended before it could be killed'
    log = tool('train.py', config, '--work-dir', work_dir, '--resume').stdout
    epoch = int(re.search(r'resumed epoch: (\d+)', log)[1])
    assert 3 <= epoch < 15

    tool('train.py', config, '--work-dir', tmp_path / 'whole')
    resumed, whole = (torch.load(folder / 'student_last.pth', weights_only=True)['state_dict']
                      for folder in (work_dir, tmp_path / 'whole'))
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name

    metrics = []
    for checkpoint in ('epoch_15.pth', 'student_last.pth'):
        tool('test.py', config, work_dir / checkpoint, '--out', tmp_path / 'metrics.json')
        metrics.append(json.loads((tmp_path / 'metrics.json').read_text()))
    assert metrics[0] == metrics[1]


@pytest.mark.slow
def test_a_trained_folder_is_not_overwritten_and_a_named_checkpoint_is_resumed(tmp_path):
    config, work_dir = config_file(tmp_path, epochs=1), tmp_path / 'run'
    tool('train.py', config, '--work-dir', work_dir, '--no-validate')
    before = (work_dir / 'epoch_1.pth').read_bytes()
    again = tool('train.py', config, '--work-dir', work_dir, check=False)
    assert again.returncode == 1
    assert '--resume' in again.stderr
    assert 'Traceback' not in again.stderr
    assert (work_dir / 'epoch_1.pth').read_bytes() == before
    weights = tool('train.py', config, '--work-dir', tmp_path / 'more', '--resume', work_dir / 'student_last.pth',
                   check=False)
    assert 'has no message_hub and no optimizer' in weights.stderr
    more = tool('train.py', config, '--work-dir', tmp_path / 'more', '--resume', work_dir / 'epoch_1.pth',
                '--amp', '--cfg-options', 'train_cfg.max_epochs=2')
    assert 'resumed epoch: 1' in more.stdout
    assert (tmp_path / 'more/epoch_2.pth').is_file()


def test_the_test_tool_reads_no_teacher(tmp_path):
    config = config_file(tmp_path, digits_distillation(teacher_ckpt='nowhere/teacher.pth'))
    torch.save(torch.nn.Module().state_dict(), tmp_path / 'empty.pth')
    done = tool('test.py', config, tmp_path / 'empty.pth', check=False)
    assert 'nowhere' not in done.stderr.replace(str(config), '')
    assert 'holds no weights' in done.stderr


@pytest.mark.parametrize(('arguments', 'words'), [
    (('configs/wsld/wsld_resnet34_resnet18_8xb32_in1q.py', ), 'wsld_resnet34_resnet18_8xb32_in1k.py'),
    (('configs/baselines/resnet18-w8_digits.py', '--cfg-options', 'model.backbone.base_chanels=8'), 'base_channels'),
    (('configs/baselines/resnet18-w8_digits.py', '--cfg-options', 'oops'), 'KEY=VALUE'),
    (('configs/wsld/wsld_resnet18-w32_resnet18-w8_digits.py', '--cfg-options',
      'model.teacher_ckpt=nowhere/teacher.pth'), 'nowhere/teacher.pth'),
    (('configs/baselines/resnet18-w8_digits.py', '--resume', 'nowhere/epoch_1.pth'), 'nowhere/epoch_1.pth'),
])
def test_a_users_mistake_is_a_message_without_a_traceback(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.syspath_prepend(ROOT / 'tools')
    monkeypatch.chdir(ROOT)
    main = runpy.run_path('tools/train.py')['main']
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, '--work-dir', str(tmp_path / 'run')])
    told = capsys.readouterr().err
    assert exit_.value.code == 1
    assert words in told
    assert 'Traceback' not in told


@pytest.mark.parametrize('name', sorted(path.name for path in (ROOT / 'tools').glob('[!_]*.py')))
def test_help_answers_without_importing_torch(name):
    code = (f"import runpy, sys; sys.argv = ['{name}', '--help']; sys.path.insert(0, 'tools')\n"
            f"try: runpy.run_path('tools/{name}', run_name='__main__')\n"
            "except SystemExit: pass\n"
            "assert not {'torch', 'mmengine', 'numpy'} & set(sys.modules), 'something heavy was imported'")
    assert 'usage' in run(PYTHON, '-c', code).stdout


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
