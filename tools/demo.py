#!/usr/bin/env python
"""Distil handwritten digits: teachers, then students alone, with KD and with WSLD, over several seeds."""
import argparse
import os
from pathlib import Path

import _arguments  # noqa: F401  (makes the package importable without an install)


def parse_args(argv=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'), help='[work_dirs/demo]')
    parser.add_argument('--seeds', type=int, default=5, help='repetitions [5]')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='runs side by side [one a core]')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='replace settings of every config, such as train_cfg.max_epochs=2')
    args = parser.parse_args(argv)
    if args.seeds < 1 or args.jobs < 1:
        parser.error('--seeds and --jobs must be at least 1')
    return args


def main(argv=None):
    """Parse and run."""
    args = parse_args(argv)
    from wsld_plugin.engine.cli import stop_with_reason
    with stop_with_reason():
        from wsld_plugin.reproduce.demo import demonstrate
        demonstrate(args.work_dir, args.seeds, args.jobs, tuple(args.cfg_options))


if __name__ == '__main__':
    main()
