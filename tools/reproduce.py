#!/usr/bin/env python
"""Fill the table of a plan: train what is missing, over seeds, and set it beside the published figures."""
import signal

from _arguments import plan_arguments


def parse_args(argv=None):
    """Read the command line."""
    parser = plan_arguments(__doc__, 'reproduce', 'configs/reproduce/digits.py')
    parser.add_argument('--seeds', type=int, nargs='+', metavar='SEED', help="in place of the plan's")
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows of the table')
    parser.add_argument('--methods', nargs='+', metavar='METHOD', help='only these, and the teachers they need')
    return parser.parse_args(argv)


def main(argv=None):
    """Parse, load the plan, train and report."""
    args = parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which a shell's background job ignores
    from wsld_plugin.engine.launch import options_from, stop_with_reason
    with stop_with_reason('Stopped. The same command goes on from here.'):
        from wsld_plugin.reproduce.plan import load_plan
        from wsld_plugin.reproduce.table import reproduce, write_report
        plan = load_plan(args.plan, seeds=args.seeds, rows=args.rows, methods=args.methods,
                         options=options_from(args.cfg_options))
        if args.report_only:
            write_report(plan, args.work_dir, plan.runs(args.work_dir, check_files=False))
        else:
            reproduce(plan, args.work_dir, args.jobs)


if __name__ == '__main__':
    main()
