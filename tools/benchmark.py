#!/usr/bin/env python
"""Measure how fast training is, one variant beside another."""
import argparse
from pathlib import Path

import _arguments  # noqa: F401  (makes the package importable without an install)
from _benchmark_data import add_data
from _benchmark_loss import add_loss


def parse_args(argv=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    _add_configs(commands)
    _add_step(commands)
    _add_train(commands)
    add_loss(_command(commands, 'loss', "value and gradient of the losses beside MMRazor's", 40, 5))
    add_data(_command(commands, 'data', 'images a second through a training pipeline', 20, 1), _positive)
    args = parser.parse_args(argv)
    if args.pairs < 2:
        parser.error('--pairs must be at least 2: one round has no quartiles')
    return args


def main(argv=None):
    """Parse, measure, tell."""
    args = parse_args(argv)
    from wsld_plugin.engine.cli import stop_with_reason
    with stop_with_reason():
        import torch

        from wsld_plugin.benchmarks.run import tell
        if args.threads:
            torch.set_num_threads(args.threads)
        getattr(args, 'tell', tell)(args.measure(args), args.out)


def _add_configs(commands):
    command = _command(commands, 'configs', 'a training step of each config, on random images and weights', 40, 5)
    command.add_argument('configs', nargs='+', metavar='CONFIG', help='the others are compared with the first')
    _add_sizes(command)
    command.add_argument('--clock', choices=['wall', 'cpu'], default='wall',
                         help='cpu: processor time, for a machine that others use too; without a GPU [wall]')

    def measure(args):
        from wsld_plugin.benchmarks.run import compare_configs
        return compare_configs(args.configs, clock=args.clock, **_step_options(args))
    command.set_defaults(measure=measure)


def _add_step(commands):
    command = _command(commands, 'step', "one distillation step, from MMRazor's own to the fastest", 10, 2)
    command.add_argument('config', nargs='?', default='configs/wsld/wsld_resnet34_resnet18_8xb32_in1k.py',
                         help='a config with WSLD [%(default)s]')
    _add_sizes(command)
    command.add_argument('--rungs', nargs='+', metavar='RUNG', help='beside the first [all that this machine can]')

    def measure(args):
        from wsld_plugin.benchmarks.run import climb
        return climb(args.config, chosen=args.rungs, **_step_options(args))
    command.set_defaults(measure=measure)


def _add_train(commands):
    command = _command(commands, 'train', 'a short run of each config through the Runner: what is not the step', 3, 10)
    command.add_argument('configs', nargs='+', metavar='CONFIG', help='with their data and teachers')
    command.add_argument('--iterations', type=_positive, default=60, metavar='I', help='of each run [%(default)s]')
    _add_options(command)

    def measure(args):
        from wsld_plugin.benchmarks.train import time_runs
        from wsld_plugin.engine.cli import options_from
        return time_runs(args.configs, pairs=args.pairs, warmup=args.warmup, iterations=args.iterations,
                         options=options_from(args.cfg_options))
    command.set_defaults(measure=measure)


def _command(commands, name, help_, pairs, warmup):
    """A sub-command with what all of them take."""
    command = commands.add_parser(name, help=help_)
    command.add_argument('--pairs', type=_positive, default=pairs, metavar='P',
                         help='rounds in which every variant is timed once, 2 or more [%(default)s]')
    command.add_argument('--warmup', type=_positive, default=warmup, metavar='W',
                         help='rounds before them [%(default)s]')
    command.add_argument('--threads', type=_positive, metavar='T', help="of the CPU [PyTorch's choice]")
    command.add_argument('--out', type=Path, metavar='FILE.json', help='write the figures, of every round too')
    return command


def _add_sizes(command):
    command.add_argument('--batch-size', type=_positive, metavar='N', help="[the config's own]")
    command.add_argument('--image-size', type=_positive, metavar='PIXELS', help="[the config's own]")
    _add_options(command)


def _add_options(command):
    command.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                         help='replace settings of every config, such as model.teacher_bn=train')


def _step_options(args):
    from wsld_plugin.engine.cli import options_from
    return dict(pairs=args.pairs, warmup=args.warmup, batch_size=args.batch_size, image_size=args.image_size,
                options=options_from(args.cfg_options))


def _positive(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text}: expected a positive number')
    return int(text)


if __name__ == '__main__':
    main()
