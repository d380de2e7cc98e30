#!/usr/bin/env python
"""Measure how long training takes, one variant beside another."""
import argparse
from pathlib import Path

from _arguments import positive


def main(argv=None):
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    step = _command(commands, 'step', "a distillation step: MMRazor's own, ours, and a hand-written loop", 10, 2)
    step.add_argument('config', nargs='?', default='configs/wsld/wsld_resnet34_resnet18_8xb32_in1k.py',
                      help='a config with WSLD [%(default)s]')
    step.add_argument('--batch-size', type=positive, metavar='N', help="[the config's own]")
    step.add_argument('--image-size', type=positive, metavar='PIXELS', help="[the config's own]")
    step.add_argument('--rungs', nargs='+', metavar='RUNG', help="variants beside MMRazor's [all that can run]")
    train = _command(commands, 'train', 'short runs through the Runner: the time outside the step', 3, 10)
    train.add_argument('configs', nargs='+', metavar='CONFIG', help='with their data and teachers')
    train.add_argument('--iterations', type=positive, default=60, metavar='I', help='of each run [%(default)s]')
    args = parser.parse_args(argv)
    if args.pairs < 2:
        parser.error('--pairs must be at least 2: one round has no quartiles')
    from wsld_plugin.engine.launch import options_from, stop_with_reason
    with stop_with_reason():
        import torch

        from wsld_plugin.benchmark.step import compare_steps, step_markdown
        from wsld_plugin.benchmark.train import time_runs, train_markdown
        from wsld_plugin.files import to_json, write_atomically
        if args.threads:
            torch.set_num_threads(args.threads)
        common = dict(pairs=args.pairs, warmup=args.warmup, options=options_from(args.cfg_options))
        if args.command == 'step':
            report = compare_steps(args.config, batch_size=args.batch_size, image_size=args.image_size,
                                   chosen=args.rungs, **common)
            print(step_markdown(report))
        else:
            report = time_runs(args.configs, iterations=args.iterations, **common)
            print(train_markdown(report))
        if args.out:
            write_atomically(args.out, to_json(report))
            print(f'\nWritten: {args.out}')


def _command(commands, name, purpose, pairs, warmup):
    """A sub-command with the common arguments."""
    command = commands.add_parser(name, help=purpose)
    command.add_argument('--pairs', type=positive, default=pairs, metavar='P',
                         help='rounds in which every variant is timed once, 2 or more [%(default)s]')
    command.add_argument('--warmup', type=positive, default=warmup, metavar='W',
                         help='rounds, or iterations of each run, before them [%(default)s]')
    command.add_argument('--threads', type=positive, metavar='T', help="of the CPU [PyTorch's default]")
    command.add_argument('--out', type=Path, metavar='FILE.json', help='write all figures, those of every round too')
    command.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                         help='replace settings of every config, such as model.teacher_bn=train')
    return command


if __name__ == '__main__':
    main()
