"""A real Slurm on this machine: two tasks without a GPU, a preempted job, a cancelled one.

It needs root and Debian's slurm-wlm and munge. The daemons run in a temporary folder, with ports of their own.
"""
import os
import shutil
import subprocess
import sys
import time

import pytest
import torch
from factories import digits_distillation, run_cfg
from processes import ROOT, start, tool

pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ('munged', 'slurmctld', 'slurmd'))) or torch.cuda.is_available(),
    reason='needs root, munge and slurm-wlm, and a machine without a GPU')]

CONF = """
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=1,bf_interval=1
NodeName=localhost CPUs={cpus} State=UNKNOWN
PartitionName=low Nodes=localhost Default=YES PriorityTier=1 GraceTime=60
PartitionName=high Nodes=localhost PriorityTier=10 PreemptMode=off
"""
LONG = ('train_cfg.max_epochs=300', 'default_hooks.checkpoint.interval=20')
JOB = """#!/bin/bash
srun --ntasks=2 {python} tools/train.py {config} --launcher slurm --resume --work-dir {work_dir} \\
    --cfg-options {options} || code=$?
[ "${{code:-0}}" != 143 ] || scontrol requeue "$SLURM_JOB_ID"
exit "${{code:-0}}"
"""


@pytest.fixture(scope='module')
def slurm(tmp_path_factory):
    """A running controller and node; commands find them through ``SLURM_CONF``."""
    folder = tmp_path_factory.mktemp('slurm')
    for name in ('state', 'spool'):
        (folder / name).mkdir()
    conf = folder / 'slurm.conf'
    conf.write_text(CONF.format(folder=folder, cpus=max(2, os.cpu_count())))
    (folder / 'munge.key').write_bytes(os.urandom(1024))
    (folder / 'munge.key').chmod(0o400)
    files = (f'--{name}-file={folder}/munge.{name}' for name in ('key', 'pid', 'log', 'seed'))
    patch = pytest.MonkeyPatch()
    patch.setenv('SLURM_CONF', str(conf))
    daemons = [subprocess.Popen(command) for command in (
        ['munged', '--foreground', '--force', f'--socket={folder}/munge.socket', *files],
        ['slurmctld', '-D'], ['slurmd', '-D', '-N', 'localhost'])]
    until(lambda: 'idle' in said('sinfo', '--noheader', check=False))
    yield
    for daemon in reversed(daemons):
        daemon.terminate()
        daemon.wait()
    patch.undo()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'config.py'
    run_cfg(tmp_path / 'unused', digits_distillation()).dump(path)
    return path


def said(*command, check=True):
    return subprocess.run(command, capture_output=True, text=True, check=check, cwd=ROOT,
                          env={**os.environ, 'OMP_NUM_THREADS': '1'}).stdout.strip()


def until(reached, seconds=300):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, said('squeue', check=False)
        time.sleep(.1)


def submitted(tmp_path, config):
    (tmp_path / 'job.sh').write_text(JOB.format(
        python=sys.executable, config=config, work_dir=tmp_path / 'job', options=' '.join(LONG)))
    return said('sbatch', '--parsable', '--partition=low', '--ntasks=2', '--requeue', '--open-mode=append',
                f'--output={tmp_path}/job.out', tmp_path / 'job.sh')


def state(job):
    return said('squeue', '--noheader', '--states=all', f'--jobs={job}', '--format=%T', check=False)


def student(folder):
    return torch.load(folder / 'student_last.pth', weights_only=True)['state_dict']


def test_two_tasks_train_as_two_processes_of_torchrun_and_a_preempted_job_goes_on_to_the_bit(slurm, tmp_path, config):
    tool('dist_train.sh', config, 2, '--work-dir', tmp_path / 'torchrun', '--cfg-options', *LONG)
    tool('slurm_train.sh', 'low', 'name', config, '--work-dir', tmp_path / 'tasks', '--cfg-options', *LONG,
         GPUS='0', TASKS='2', CPUS_PER_TASK='1')
    job = submitted(tmp_path, config)
    until(lambda: (tmp_path / 'job/epoch_20.pth').exists())
    said('sbatch', '--partition=high', '--ntasks=2', f'--output={tmp_path}/high.out', '--wrap', 'sleep 1')
    until(lambda: state(job) in ('COMPLETED', 'FAILED'))
    printed = (tmp_path / 'job.out').read_text()
    assert state(job) == 'COMPLETED', printed
    assert 'SIGTERM: stopped after iteration' in printed
    assert 'resumed epoch' in printed
    expected = student(tmp_path / 'torchrun')
    for name in ('tasks', 'job'):
        found = student(tmp_path / name)
        assert all(torch.equal(found[key], value) for key, value in expected.items()), name


def test_a_cancelled_job_saves_and_ends(slurm, tmp_path, config):
    process = start('bash', 'tools/slurm_train.sh', 'low', 'name', config, '--work-dir', tmp_path / 'run',
                    '--cfg-options', 'train_cfg.max_epochs=100000', GPUS='0', TASKS='2', CPUS_PER_TASK='1')
    until(lambda: list((tmp_path / 'run').glob('epoch_*.pth')))
    job, = said('squeue', '--noheader', '--format=%A').split()
    said('scancel', job)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode
    assert 'SIGTERM: stopped after iteration' in printed
    last = (tmp_path / 'run/last_checkpoint').read_text()
    assert last in printed
    assert torch.load(tmp_path / 'run' / last, weights_only=False)['optimizer']
