#!/usr/bin/env python
"""Train what a config describes: a distillation or a plain classifier."""
from _arguments import runner_arguments


def main(argv=None):
    """Parse, load the config, train."""
    parser = runner_arguments(__doc__)
    parser.add_argument('config', help='path of the config file')
    parser.add_argument('--resume', nargs='?', const=True, default=False, metavar='CHECKPOINT',
                        help='continue from CHECKPOINT, or from the newest one of the work dir')
    parser.add_argument('--amp', nargs='?', const='bf16', choices=['bf16', 'fp16'],
                        help='mixed precision; bf16 where only --amp is given')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help="scale the learning rate by real batch size / the config's base_batch_size")
    parser.add_argument('--no-validate', action='store_true', help='do not validate while training')
    args = parser.parse_args(argv)
    from wsld_plugin.engine.launch import options_from, stop_with_reason
    with stop_with_reason('Stopped. The same command with --resume goes on from the last checkpoint.'):
        from wsld_plugin.engine.training import train, training_config
        train(training_config(
            args.config, work_dir=args.work_dir, resume=args.resume, amp=args.amp,
            auto_scale_lr=args.auto_scale_lr, validate=not args.no_validate,
            options=options_from(args.cfg_options), launcher=args.launcher))


if __name__ == '__main__':
    main()
