"""What the command lines share. Nothing heavy is imported here, so that --help answers at once."""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def runner_arguments(description):
    """A parser with the arguments that every tool around a Runner takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--work-dir', help='folder of the run [work_dirs/<config>]')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='replace settings of the config, such as model.hard_weight=0.5')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='how several processes were started [none]')
    # torchrun sets LOCAL_RANK; older launchers pass it as an argument
    parser.add_argument('--local_rank', '--local-rank', type=_set_local_rank, help=argparse.SUPPRESS)
    return parser


def _set_local_rank(value):
    os.environ.setdefault('LOCAL_RANK', value)
    return int(value)
