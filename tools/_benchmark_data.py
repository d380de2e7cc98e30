"""The sub-command ``data`` of tools/benchmark.py."""


def add_data(command, positive):
    """Arguments of the sub-command beside those that all have, and what it runs."""
    command.add_argument('config', metavar='CONFIG',
                         help='its training pipeline, as it is and decoding less; 1 thread unless --threads tells')
    command.add_argument('--images', metavar='FOLDER', help="of images [the config's own data set]")
    command.add_argument('--most', type=positive, default=200, metavar='N', help='of the images [%(default)s]')
    command.add_argument('--clock', choices=['wall', 'cpu'], default='wall',
                         help='cpu: processor time, for a machine that others use too [wall]')
    command.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='replace settings of the config')
    command.set_defaults(measure=_measure, tell=_tell, threads=1)


def _measure(args):
    from wsld_plugin.benchmarks.data import compare_pipelines
    from wsld_plugin.engine.cli import options_from
    return compare_pipelines(args.config, images=args.images, most=args.most, pairs=args.pairs, warmup=args.warmup,
                             threads=args.threads, clock=args.clock, options=options_from(args.cfg_options))


def _tell(report, out):
    from wsld_plugin.benchmarks.data_report import tell
    tell(report, out)
