#!/usr/bin/env python
"""Split the error of training methods into bias and variance, over students on disjoint parts of the training set."""
import signal

from _arguments import plan_arguments


def parse_args(argv=None):
    """Read the command line."""
    parser = plan_arguments(__doc__, 'bias_variance', 'configs/bias_variance/digits.py')
    parser.add_argument('--models', type=int, help="how many, one a part, in place of the plan's")
    return parser.parse_args(argv)


def main(argv=None):
    """Parse, load the plan, train and report."""
    args = parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which a shell's background job ignores
    from wsld_plugin.engine.launch import options_from, stop_with_reason
    with stop_with_reason('Stopped. The same command goes on from here.'):
        from wsld_plugin.bias_variance.plan import load_plan
        from wsld_plugin.bias_variance.study import study
        plan = load_plan(args.plan, models=args.models, options=options_from(args.cfg_options))
        study(plan, args.work_dir, args.jobs, train=not args.report_only)


if __name__ == '__main__':
    main()
