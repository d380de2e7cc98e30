#!/usr/bin/env python
"""Split the error of training methods into bias and variance, over students on disjoint parts of the training set."""
import argparse
import os
import signal
from pathlib import Path

import _arguments  # noqa: F401  (makes the package importable without an install)


def parse_args(argv=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('plan', help='a file such as configs/bias_variance/digits.py')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/bias_variance'),
                        help='folder of all runs and reports [work_dirs/bias_variance]')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='runs side by side [one a core]')
    parser.add_argument('--models', type=int, help="how many, one a part, in place of the plan's")
    parser.add_argument('--report-only', action='store_true', help='train nothing; report on what is finished')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='replace settings of every config, such as train_cfg.max_epochs=2')
    args = parser.parse_args(argv)
    if args.jobs < 1:
        parser.error('--jobs must be at least 1')
    return args


def main(argv=None):
    """Parse, load the plan, train and report."""
    args = parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which a shell's background job ignores
    from wsld_plugin.engine.cli import options_from, stop_with_reason
    with stop_with_reason('Stopped. The same command goes on from here.'):
        from wsld_plugin.bias_variance.plan import load_plan
        from wsld_plugin.bias_variance.study import study
        plan = load_plan(args.plan, models=args.models, options=options_from(args.cfg_options))
        study(plan, args.work_dir, args.jobs, train=not args.report_only)


if __name__ == '__main__':
    main()
