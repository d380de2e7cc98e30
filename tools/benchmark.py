#!/usr/bin/env python
"""Measure how fast training is, one variant beside another."""
import argparse
from pathlib import Path

import _arguments  # noqa: F401  (makes the package importable without an install)


def parse_args(argv=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    command = commands.add_parser('configs', help='a training step of each config, on random images and weights')
    command.add_argument('configs', nargs='+', metavar='CONFIG', help='the others are compared with the first')
    command.add_argument('--batch-size', type=_positive, metavar='N', help="[the configs' own]")
    command.add_argument('--image-size', type=_positive, metavar='PIXELS', help="[the configs' own]")
    command.add_argument('--pairs', type=_positive, default=40, metavar='P',
                         help='rounds in which every config takes one step, 2 or more [40]')
    command.add_argument('--warmup', type=_positive, default=5, metavar='W', help='rounds before them [5]')
    command.add_argument('--threads', type=_positive, metavar='T', help="of the CPU [PyTorch's choice]")
    command.add_argument('--clock', choices=['wall', 'cpu'], default='wall',
                         help='cpu: processor time, for a machine that others use too; without a GPU [wall]')
    command.add_argument('--out', type=Path, metavar='FILE.json', help='write the figures, of every round too')
    command.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                         help='replace settings of every config, such as model.teacher_bn=train')
    args = parser.parse_args(argv)
    if args.pairs < 2:
        parser.error('--pairs must be at least 2: one round has no quartiles')
    return args


def main(argv=None):
    """Parse, measure, tell."""
    args = parse_args(argv)
    from wsld_plugin.engine.cli import options_from, stop_with_reason
    with stop_with_reason():
        import torch

        from wsld_plugin.benchmarks.run import compare_configs, tell
        if args.threads:
            torch.set_num_threads(args.threads)
        tell(compare_configs(args.configs, pairs=args.pairs, warmup=args.warmup, batch_size=args.batch_size,
                             image_size=args.image_size, clock=args.clock,
                             options=options_from(args.cfg_options)), args.out)


def _positive(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text}: expected a positive number')
    return int(text)


if __name__ == '__main__':
    main()
