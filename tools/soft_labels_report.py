#!/usr/bin/env python
"""Write a page on a teacher's soft labels: their quality, and what they predict for a student."""
import argparse

import _arguments  # noqa: F401  (makes the package importable without an install)


def main(argv=None):
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a classifier, or of a distillation, whose teacher is measured')
    parser.add_argument('checkpoint', nargs='?', help='file or URL of the weights; a distillation names its own')
    parser.add_argument('--out', metavar='DIR', help='folder of the page [work_dirs/<config>/soft_labels_<split>]')
    parser.add_argument('--split', choices=['train', 'test'], default='test', help='which labelled images [test]')
    parser.add_argument('--device', help='device of the teacher [a GPU if there is one]')
    parser.add_argument('--max-samples', type=int, metavar='N', help='at most N images, spread over all')
    parser.add_argument('--max-k', type=int, metavar='K', help='largest k [all classes, at most 100]')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='override settings of the config, such as model.teacher.average=logits')
    args = parser.parse_args(argv)
    from wsld_plugin.engine.launch import options_from, stop_with_reason
    with stop_with_reason():
        from wsld_plugin.studies.teacher_report.page import soft_labels_report
        folder, _, sentence, notes = soft_labels_report(
            args.config, args.checkpoint, out=args.out, split=args.split, device=args.device,
            max_samples=args.max_samples, max_k=args.max_k, options=options_from(args.cfg_options))
        print(sentence, *notes, folder / 'index.html', sep='\n')


if __name__ == '__main__':
    main()
