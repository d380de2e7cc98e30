#!/usr/bin/env python
"""Measure how fast training is, one variant beside another."""
import argparse
from pathlib import Path

from _arguments import positive
from _benchmark_loss import add_loss
from _benchmark_steps import add_configs, add_monitor, add_step, add_train


def parse_args(argv=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    add_configs(_command(commands, 'configs', 'a training step of each config, on random images and weights', 40, 5),
                positive)
    add_step(_command(commands, 'step', "one distillation step, from MMRazor's own to the fastest", 10, 2), positive)
    add_train(_command(commands, 'train', 'short runs through the Runner: what is not the step', 3, 10), positive)
    add_monitor(_command(commands, 'monitor', 'what SoftLabelMonitorHook costs, in one run', 50, 5), positive)
    add_loss(_command(commands, 'loss', "value and gradient of the losses beside MMRazor's", 40, 5))
    args = parser.parse_args(argv)
    if args.pairs < 2:
        parser.error('--pairs must be at least 2: one round has no quartiles')
    return args


def main(argv=None):
    """Parse, measure, tell."""
    args = parse_args(argv)
    from wsld_plugin.engine.launch import stop_with_reason
    with stop_with_reason():
        import torch

        from wsld_plugin.benchmarks.run import tell
        if args.threads:
            torch.set_num_threads(args.threads)
        getattr(args, 'tell', tell)(args.measure(args), args.out)


def _command(commands, name, help_, pairs, warmup):
    """A sub-command with what all of them take."""
    command = commands.add_parser(name, help=help_)
    command.add_argument('--pairs', type=positive, default=pairs, metavar='P',
                         help='rounds in which every variant is timed once, 2 or more [%(default)s]')
    command.add_argument('--warmup', type=positive, default=warmup, metavar='W',
                         help='rounds before them [%(default)s]')
    command.add_argument('--threads', type=positive, metavar='T', help="of the CPU [PyTorch's choice]")
    command.add_argument('--out', type=Path, metavar='FILE.json', help='write the figures, of every round too')
    return command


if __name__ == '__main__':
    main()
