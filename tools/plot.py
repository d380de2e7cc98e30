#!/usr/bin/env python
"""Draw pictures of finished runs."""
import argparse
from pathlib import Path

import _arguments  # noqa: F401  (makes the package importable without an install)


def main(argv=None):
    """Parse, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    pictures = parser.add_subparsers(dest='picture', required=True)
    plane = pictures.add_parser('plane', help="accuracies of a plan's students over the unreliability and ambiguity "
                                              'of their labels')
    plane.add_argument('plan', help='a file such as configs/reproduce/partial_labels.py')
    plane.add_argument('--work-dir', type=Path, default=Path('work_dirs/reproduce'),
                       help='folder of its runs [work_dirs/reproduce]')
    plane.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows of the plan')
    monitor = pictures.add_parser('monitor', help='the log of SoftLabelMonitorHook: regularization samples over the '
                                                  'epochs, and weights, for each τ')
    monitor.add_argument('runs', nargs='+', type=Path, metavar='RUN',
                         help="a run's folder; those of equal τ in one folder are seeds")
    for picture, default in ((plane, 'plane.png'), (monitor, 'soft_labels.png')):
        picture.add_argument('--out', type=Path, default=Path(default), metavar='FILE.png',
                             help='the picture [%(default)s]')
    args = parser.parse_args(argv)
    from wsld_plugin.engine.launch import stop_with_reason
    with stop_with_reason():
        if args.picture == 'plane':
            from wsld_plugin.studies.plan import load_plan
            from wsld_plugin.studies.table import draw_plane
            print(draw_plane(load_plan(args.plan, rows=args.rows), args.work_dir, args.out))
        else:
            from wsld_plugin.analysis.plots import plot_runs
            plot_runs(args.out, args.runs)
        print(f'Written: {args.out}')


if __name__ == '__main__':
    main()
