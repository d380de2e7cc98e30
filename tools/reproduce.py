#!/usr/bin/env python
"""Train the missing runs of a plan, and write its table beside the published figures."""
from _arguments import plan_arguments, resumable


def main(argv=None):
    """Parse, load the plan, train and report."""
    parser = plan_arguments(__doc__, 'reproduce')
    parser.add_argument('--seeds', type=int, nargs='+', metavar='SEED', help="replace the plan's")
    args = parser.parse_args(argv)
    with resumable():
        from wsld_plugin.engine.launch import options_from
        from wsld_plugin.studies.plan import load_plan
        from wsld_plugin.studies.table import reproduce
        plan = load_plan(args.plan, seeds=args.seeds, rows=args.rows, methods=args.methods,
                         options=options_from(args.cfg_options))
        reproduce(plan, args.work_dir, args.jobs, train=not args.report_only)


if __name__ == '__main__':
    main()
