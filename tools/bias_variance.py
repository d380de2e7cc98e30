#!/usr/bin/env python
"""Split the error of training methods into bias and variance, over students on disjoint parts of the training set."""
from _arguments import plan_arguments, resumable


def main(argv=None):
    """Parse, load the plan, train and report."""
    parser = plan_arguments(__doc__, 'bias_variance')
    parser.add_argument('--models', type=int, help="number of models, one for each part; replaces the plan's")
    args = parser.parse_args(argv)
    with resumable():
        from wsld_plugin.engine.launch import options_from
        from wsld_plugin.studies.bias_variance import study
        from wsld_plugin.studies.plan import load_plan
        plan = load_plan(args.plan, models=args.models, rows=args.rows, methods=args.methods,
                         options=options_from(args.cfg_options))
        study(plan, args.work_dir, args.jobs, train=not args.report_only)


if __name__ == '__main__':
    main()
