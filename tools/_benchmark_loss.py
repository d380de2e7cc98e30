"""The sub-command ``loss`` of tools/benchmark.py."""
import argparse


def add_loss(command):
    """Arguments of the sub-command beside those that all have, and what it runs."""
    command.add_argument('--shape', nargs='+', type=_shape, default=[(256, 1000), (64, 128_000)], metavar='N,C',
                         help='of the logits [256,1000 64,128000]')
    command.add_argument('--dtype', choices=['float32', 'bfloat16', 'float16'], default='float32',
                         help='of the logits [%(default)s]')
    command.add_argument('--device', default='cpu', help='where they lie, such as cuda [%(default)s]')
    command.add_argument('--compiled', action='store_true', help='also what torch.compile makes of ours')
    command.add_argument('--clock', choices=['wall', 'cpu'], default='wall',
                         help='cpu: processor time, for a machine that others use too [wall]')
    command.set_defaults(measure=_measure, tell=_tell)


def _measure(args):
    from wsld_plugin.benchmarks.loss import compare_losses
    return compare_losses(args.shape, pairs=args.pairs, warmup=args.warmup, dtype=args.dtype, device=args.device,
                          compiled=args.compiled, clock=args.clock)


def _tell(report, out):
    from wsld_plugin.benchmarks.loss_report import tell
    tell(report, out)


def _shape(text):
    sizes = text.split(',')
    if len(sizes) != 2 or not all(size.isdigit() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f'{text}: expected N,C such as 256,1000')
    return tuple(map(int, sizes))
