#!/usr/bin/env python
"""Draw the accuracies of a plan's students over the unreliability and ambiguity of the labels they were given."""
import argparse
from pathlib import Path

import _arguments  # noqa: F401  (makes the package importable without an install)


def parse_args(argv=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('plan', help='a file such as configs/reproduce/partial_labels.py')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/reproduce'),
                        help='folder of its runs [work_dirs/reproduce]')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows of the plan')
    parser.add_argument('--out', type=Path, default=Path('plane.png'), metavar='FILE.png',
                        help='the picture [%(default)s]')
    return parser.parse_args(argv)


def main(argv=None):
    """Parse, measure, draw."""
    args = parse_args(argv)
    from wsld_plugin.engine.launch import stop_with_reason
    with stop_with_reason():
        from wsld_plugin.reproduce.plan import load_plan
        from wsld_plugin.reproduce.plane import draw_plane
        print(draw_plane(load_plan(args.plan, rows=args.rows), args.work_dir, args.out))
        print(f'\nWritten: {args.out}')


if __name__ == '__main__':
    main()
