#!/usr/bin/env python
"""Write a teacher's soft labels to disk, for training without running it: wsld_plugin.CachedTeacher."""
import argparse

from _arguments import positive


def main(argv=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='a training config, with a CachedTeacher or with the teacher itself')
    parser.add_argument('--views', type=positive, metavar='V',
                        help="augmentations of each image [the config's, or 1]")
    parser.add_argument('--top-k', type=positive, metavar='K',
                        help="logits kept of each image [the config's, or all]")
    parser.add_argument('--out', metavar='DIR',
                        help="folder of the soft labels [the config's, or WORK_DIR/soft_labels]")
    parser.add_argument('--work-dir', metavar='WORK_DIR', help='folder of the run [work_dirs/<config>]')
    parser.add_argument('--verify', type=positive, default=0, metavar='N',
                        help='afterwards compute N of them again, and the SHA-256 of the file')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='replace settings of the config, such as randomness.seed=1')
    args = parser.parse_args(argv)
    from wsld_plugin.engine.launch import options_from, stop_with_reason
    with stop_with_reason():
        from wsld_plugin.soft_labels.prepare import cache_soft_labels, caching_config
        cfg = caching_config(args.config, views=args.views, top_k=args.top_k, out=args.out, work_dir=args.work_dir,
                             options=options_from(args.cfg_options))
        labels = cache_soft_labels(cfg, verify=args.verify)
        size, header = labels.records.itemsize, labels.header
        print(f'{labels.folder}: {header.num_samples:,} images, {header.views} views, {size} bytes each, '
              f'{len(labels.records) * size:,} bytes, seed {header.seed}')


if __name__ == '__main__':
    main()
