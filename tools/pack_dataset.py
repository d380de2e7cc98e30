#!/usr/bin/env python
"""Pack a data set into two arrays, which load without decoding: wsld_plugin.PackedDataset."""
import argparse
from functools import partial
from pathlib import Path

from _arguments import positive


def main(argv=None):
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    size = partial(positive, of=' of pixels')
    for name, title in (('cifar10', 'CIFAR-10'), ('cifar100', 'CIFAR-100')):
        command = commands.add_parser(name, help=f'{title}, train and test, downloaded if missing')
        command.add_argument('out', type=Path, metavar='OUT', help='the packed folder, such as data/' + name)
        command.add_argument('--download-root', type=Path, metavar='DIR',
                             help='folder of the official archive; it is downloaded there if missing [beside OUT]')
    command = commands.add_parser('folder', help='class folders of images, in train, val and test or directly in SRC')
    command.add_argument('source', type=Path, metavar='SRC')
    command.add_argument('out', type=Path, metavar='OUT')
    command.add_argument('--size', type=size, required=True, metavar='N',
                         help='scale the short side to N pixels and cut out the centre, N × N')
    command.add_argument('--split', help='SRC is one split with this name [train]')
    command = commands.add_parser('dataset', help='the data sets of a config')
    command.add_argument('config', metavar='CONFIG')
    command.add_argument('out', type=Path, metavar='OUT')
    command.add_argument('--splits', nargs='+', default=['train', 'val'], metavar='SPLIT',
                         help='one or more of train, val, test [train val]')
    command.add_argument('--size', type=size, metavar='N', help='as for folder; not needed for images of one size')
    command = commands.add_parser('adopt', help='existing images.npy and labels.npy; nothing is copied')
    command.add_argument('folder', type=Path, metavar='FOLDER', help='of one split, such as data/mine/train')
    command.add_argument('--classes', type=Path, required=True, metavar='FILE.json', help='list of the class names')
    command = commands.add_parser('verify', help='compute the SHA-256 of packed folders again')
    command.add_argument('folders', type=Path, nargs='+', metavar='FOLDER')
    args = parser.parse_args(argv)
    from wsld_plugin.engine.launch import stop_with_reason
    with stop_with_reason():
        from wsld_plugin.config.load import load_config
        from wsld_plugin.datasets import packing
        if args.command == 'verify':
            _print(args.folders, packing.verify)
            return
        if args.command == 'adopt':
            packing.adopt(args.folder, args.classes)
            _print([args.folder], packing.open_splits)
            return
        if args.command == 'folder':
            sources = packing.image_folder(args.source, args.size, args.split)
        elif args.command == 'dataset':
            sources = packing.config_datasets(load_config(args.config), args.splits, args.size)
        else:
            sources = packing.cifar(args.command, args.download_root or args.out.parent)
        packing.pack(args.out, sources)
        _print([args.out / split for split in sources], packing.open_splits)


def _print(folders, read):
    for folder in folders:
        for split in read(folder):
            meta = split.meta
            print(f'{split.folder}: {meta["num_images"]} images of {meta["height"]} × {meta["width"]}, '
                  f'{len(meta["classes"])} classes')


if __name__ == '__main__':
    main()
