#!/usr/bin/env python
"""Test a checkpoint: a distillation's (its student) or a plain classifier's. No teacher is needed."""
from _arguments import runner_arguments


def main(argv=None):
    """Parse, load the config, test."""
    parser = runner_arguments(__doc__)
    parser.add_argument('config', help='the config it was trained with, or an exported student.py')
    parser.add_argument('checkpoint', help='file or URL of the weights')
    parser.add_argument('--out', metavar='FILE.json', help='write the metrics there')
    args = parser.parse_args(argv)
    from wsld_plugin.engine.launch import options_from, stop_with_reason
    with stop_with_reason():
        from wsld_plugin.engine.training import evaluate, evaluation_config
        evaluate(evaluation_config(args.config, work_dir=args.work_dir, options=options_from(args.cfg_options),
                            launcher=args.launcher), args.checkpoint, out=args.out)


if __name__ == '__main__':
    main()
