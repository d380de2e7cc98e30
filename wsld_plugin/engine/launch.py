"""Start and end of a process: command-line options, user errors, and one or several processes."""
from __future__ import annotations

import gc
import os
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import DictAction
from mmengine.device import get_device
from torch import distributed

from wsld_plugin.errors import CheckpointError, ConfigError, Interrupted, NonFiniteLossError, RunError, WriteError

_USER_ERRORS = (ConfigError, CheckpointError, NonFiniteLossError, RunError, FileNotFoundError, FileExistsError,
                IsADirectoryError, NotADirectoryError, PermissionError, WriteError)
_ended: list[distributed.ProcessGroup | None] = []  # process groups of ended runs; see `launched`


def options_from(pairs: list[str] | None) -> dict[str, Any] | None:
    """Parse ``['a.b=1', 'c=[2,3]']`` to ``{'a.b': 1, 'c': [2, 3]}``, as OpenMMLab parses ``--cfg-options``.

    Raises:
        ConfigError: a pair has no ``=``.
    """
    for pair in pairs or []:
        if '=' not in pair:
            raise ConfigError(f'--cfg-options {pair!r}: expected KEY=VALUE.')
    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='*', action=DictAction)
    return parser.parse_args(['--cfg-options', *pairs]).cfg_options if pairs else None


@contextmanager
def stop_with_reason(interrupted: str = 'Stopped.') -> Iterator[None]:
    """Print an error that the user can fix as a message without a traceback, and exit with status 1.

    After Ctrl-C, print ``interrupted`` and exit with status 130, as a shell expects.
    """
    try:
        yield
        # A thread of gloo that runs while the interpreter shuts down aborts the process: join the threads.
        gc.collect()  # a Runner is part of a reference cycle
        _ended.clear()
    except _USER_ERRORS as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        raise SystemExit(1) from None
    except Interrupted as stop:
        print(f'\n{stop}', file=sys.stderr)
        raise SystemExit(128 + stop.number) from None
    except KeyboardInterrupt:
        print(f'\n{interrupted}', file=sys.stderr)
        raise SystemExit(130) from None


@contextmanager
def launched(cfg: dict[str, Any]) -> Iterator[None]:
    """Run a Runner inside: :func:`prepare_launch` before it, and a common end of all processes after it.

    A process that exits while another is still in a collective makes that one abort. Deleting the last reference to
    a process group joins its threads. DDP deletes it while it holds the GIL, which such a thread may need to
    finish: a deadlock. So one more reference is kept here until :func:`stop_with_reason` ends.
    """
    prepare_launch(cfg)
    yield
    if distributed.is_initialized():
        distributed.barrier()
        _ended.append(distributed.group.WORLD)
        distributed.destroy_process_group()


def prepare_launch(cfg: dict[str, Any]) -> None:
    """Allow distributed training without a GPU, in place; with a GPU mmengine does everything.

    mmengine selects a CUDA device on every machine, unless a process group exists. So on a CPU the process group
    is created here, with gloo, and DDP gets no device ids.

    Raises:
        ConfigError: the launcher needs a GPU and there is none, or Slurm did not start this process.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'slurm':
        _read_slurm()
    if launcher == 'none' or get_device() != 'cpu':
        return
    if launcher not in ('pytorch', 'slurm'):
        raise ConfigError(f'--launcher {launcher} needs a GPU in this project; on a CPU use tools/dist_train.sh or '
                          'tools/slurm_train.sh.')
    if not distributed.is_initialized():
        distributed.init_process_group('gloo')
    cfg['model_wrapper_cfg'] = dict(
        dict(type='MMDistributedDataParallel', broadcast_buffers=False,
             find_unused_parameters=cfg.get('find_unused_parameters', False)),
        **{**(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None})


def _read_slurm() -> None:
    """Set the variables of PyTorch from those of Slurm. Each job has a port of its own, unless it is set."""
    given = os.environ
    if 'SLURM_PROCID' not in given:
        raise ConfigError('--launcher slurm: Slurm did not start this process. Use tools/slurm_train.sh or srun.')
    if 'MASTER_ADDR' not in given:
        hosts = subprocess.check_output(['scontrol', 'show', 'hostnames', given['SLURM_NODELIST']], text=True)
        given['MASTER_ADDR'] = hosts.split()[0]
    given.setdefault('MASTER_PORT', str(20000 + int(given['SLURM_JOB_ID']) % 20000))
    for name, of_slurm in (('RANK', 'PROCID'), ('WORLD_SIZE', 'NTASKS'), ('LOCAL_RANK', 'LOCALID')):
        given[name] = given[f'SLURM_{of_slurm}']
