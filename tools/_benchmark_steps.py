"""The sub-commands ``configs``, ``step``, ``train`` and ``monitor`` of tools/benchmark.py."""


def add_configs(command, positive):
    """Arguments of the sub-command beside those that all have, and what it runs."""
    command.add_argument('configs', nargs='+', metavar='CONFIG', help='the others are compared with the first')
    _add_sizes(command, positive)
    command.add_argument('--clock', choices=['wall', 'cpu'], default='wall',
                         help='cpu: processor time, for a machine that others use too; without a GPU [wall]')

    def measure(args):
        from wsld_plugin.benchmarks.run import compare_configs
        return compare_configs(args.configs, clock=args.clock, **_sizes(args))
    command.set_defaults(measure=measure)


def add_step(command, positive):
    """Arguments of the sub-command beside those that all have, and what it runs."""
    command.add_argument('config', nargs='?', default='configs/wsld/wsld_resnet34_resnet18_8xb32_in1k.py',
                         help='a config with WSLD [%(default)s]')
    _add_sizes(command, positive)
    command.add_argument('--rungs', nargs='+', metavar='RUNG', help='beside the first [all that this machine can]')

    def measure(args):
        from wsld_plugin.benchmarks.run import climb
        return climb(args.config, chosen=args.rungs, **_sizes(args))
    command.set_defaults(measure=measure)


def add_train(command, positive):
    """Arguments of the sub-command beside those that all have, and what it runs."""
    command.add_argument('configs', nargs='+', metavar='CONFIG', help='with their data and teachers')
    command.add_argument('--iterations', type=positive, default=60, metavar='I', help='of each run [%(default)s]')
    _add_options(command)

    def measure(args):
        from wsld_plugin.benchmarks.train import time_runs
        return time_runs(args.configs, iterations=args.iterations, **_rounds(args))
    command.set_defaults(measure=measure)


def add_monitor(command, positive):
    """Arguments of the sub-command beside those that all have, and what it runs."""
    command.add_argument('config', metavar='CONFIG', help='of a distillation, with its data')
    command.add_argument('--block', type=positive, default=20, metavar='I',
                         help='iterations in a block [%(default)s]')
    _add_options(command)

    def measure(args):
        from wsld_plugin.benchmarks.monitor import time_monitor
        return time_monitor(args.config, block=args.block, **_rounds(args))
    command.set_defaults(measure=measure)


def _add_sizes(command, positive):
    command.add_argument('--batch-size', type=positive, metavar='N', help="[the config's own]")
    command.add_argument('--image-size', type=positive, metavar='PIXELS', help="[the config's own]")
    _add_options(command)


def _add_options(command):
    command.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                         help='replace settings of every config, such as model.teacher_bn=train')


def _sizes(args):
    return dict(batch_size=args.batch_size, image_size=args.image_size, **_rounds(args))


def _rounds(args):
    from wsld_plugin.engine.launch import options_from
    return dict(pairs=args.pairs, warmup=args.warmup, options=options_from(args.cfg_options))
