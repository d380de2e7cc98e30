"""Shared by the command lines. Nothing heavy is imported here, so that --help answers at once."""
import argparse
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if hasattr(sys.stdout, 'reconfigure'):
    sys.stdout.reconfigure(errors='replace')  # for a terminal without UTF-8


def runner_arguments(description):
    """A parser with the arguments of every tool that uses a Runner."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--work-dir', help='folder of the run [work_dirs/<config>]')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='replace settings of the config, such as model.hard_weight=0.5')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='how several processes were started [none]')
    # torchrun sets LOCAL_RANK; older launchers pass it as an argument
    parser.add_argument('--local_rank', '--local-rank', type=_set_local_rank, help=argparse.SUPPRESS)
    return parser


def plan_arguments(description, folder):
    """A parser with the arguments of the tools that train the missing runs of a plan, in work_dirs/``folder``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('plan', help=f'a file such as configs/{folder}/digits.py')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs', folder),
                        help=f'folder of all runs and reports [work_dirs/{folder}]')
    parser.add_argument('--jobs', type=positive, default=os.cpu_count(), help='runs at a time [one for each core]')
    parser.add_argument('--report-only', action='store_true', help='train nothing; report on the finished runs')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='replace settings of every config, such as train_cfg.max_epochs=2')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows of the table')
    parser.add_argument('--methods', nargs='+', metavar='METHOD', help='only these, and the teachers they need')
    return parser


def resumable():
    """A context for tools that can be stopped at any time: SIGTERM acts like Ctrl-C; errors end as a message."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the background job of a shell ignores SIGINT
    from wsld_plugin.engine.launch import stop_with_reason
    return stop_with_reason('Stopped. Run the same command again to resume.')


def positive(text, of=''):
    """The ``type`` of an argument that counts; ``of`` ends its error message."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text}: expected a positive number{of}')
    return int(text)


def _set_local_rank(value):
    os.environ.setdefault('LOCAL_RANK', value)
    return int(value)
