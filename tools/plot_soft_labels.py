#!/usr/bin/env python
"""Draw what SoftLabelMonitorHook told of runs: regularization samples over the epochs, and weights, for each τ."""
import argparse
from pathlib import Path

import _arguments  # noqa: F401  (makes the package importable without an install)


def parse_args(argv=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN',
                        help="a run's folder; those of equal τ in one folder are seeds")
    parser.add_argument('--out', type=Path, default=Path('soft_labels.png'), metavar='FILE.png',
                        help='the picture [%(default)s]')
    return parser.parse_args(argv)


def main(argv=None):
    """Parse, draw."""
    args = parse_args(argv)
    from wsld_plugin.engine.launch import stop_with_reason
    with stop_with_reason():
        from wsld_plugin.analysis.plots import plot_runs
        plot_runs(args.out, args.runs)
        print(f'Written: {args.out}')


if __name__ == '__main__':
    main()
