"""The page of ``tools/soft_labels_report.py``, and its numbers as JSON."""
from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from typing import Any

import mmengine
import mmpretrain
import numpy as np

from wsld_plugin.analysis.page import data_uri, document, figure, section, side_by_side, small, table
from wsld_plugin.analysis.plots import entropies, misleading, reliability, svg
from wsld_plugin.errors import ConfigError
from wsld_plugin.files import check_writable, write_atomically
from wsld_plugin.studies.runs import machine
from wsld_plugin.version import __version__

from .images import find_device, find_subject
from .measures import PAIRS, Findings, as_json, measure, notes, verdict

PAGE, NUMBERS = 'index.html', 'report.json'


def soft_labels_report(config: str, checkpoint: str | None = None, *, out: str | None = None, split: str = 'test',
                       device: str | None = None, max_samples: int | None = None, max_k: int | None = None,
                       options: Mapping[str, Any] | None = None) -> tuple[Path, Findings, str, list[str]]:
    """Measure the soft labels of a config's teacher and write ``index.html`` and ``report.json``.

    Args:
        config, checkpoint, split, max_samples, options: as of
            :func:`wsld_plugin.studies.teacher_report.images.find_subject`, with the same errors.
        out: folder of the report; an earlier report in it is overwritten. None:
            ``work_dirs/<name of the config>/soft_labels_<split>``.
        device: of the teacher; None: the best one.
        max_k: as of :func:`wsld_plugin.studies.teacher_report.measures.measure`, with the same errors.

    Returns:
        The folder, the numbers, the verdict, and further notes.
    """
    folder = Path(out) if out else Path('work_dirs') / Path(config).stem / f'soft_labels_{split}'
    check_folder(folder)
    device = find_device(device)
    subject = find_subject(config, checkpoint, split=split, device=device, max_samples=max_samples, options=options)
    findings = measure(subject.batches(), subject.classes, len(subject.keys), max_k)
    sentence = verdict(findings, subject.made_from_labels)
    remarks = [*notes(findings, subject.made_from_labels), *subject.notes]
    settings = {
        **subject.about, **(dict(options=json.dumps(dict(options), default=str)) if options else {}),
        'largest_k': len(findings.biased.margin), 'machine': machine(), 'versions': f'wsld_plugin {__version__}, '
        f'mmengine {mmengine.__version__}, mmpretrain {mmpretrain.__version__}',
        'date': datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M UTC')}
    title = f'{subject.teacher}, {Path(config).stem}'
    report = dict(title=title, verdict=sentence, notes=remarks, settings=settings, **as_json(findings))
    write_atomically(folder / NUMBERS, (json.dumps(report, indent=1, allow_nan=False) + '\n').encode())
    write_atomically(folder / PAGE, page(findings, title, sentence, remarks, subject.image, settings).encode())
    return folder, findings, sentence, remarks


def check_folder(folder: Path) -> None:
    """Raise ConfigError unless a report can be written to a folder, and overwrites nothing but an earlier report."""
    check_writable(folder)
    with suppress(OSError, ValueError, TypeError):
        numbers = json.loads((folder / NUMBERS).read_text())
        if {'verdict', 'settings', 'k'} <= set(numbers) and not (folder / PAGE).is_dir():
            return
    present = [name for name in (PAGE, NUMBERS) if (folder / name).exists()]
    if present:
        raise ConfigError(f'{folder} holds {" and ".join(present)}, and no report of this tool: nothing is '
                          'overwritten. Give another folder as --out, or move these files.')


def page(findings: Findings, title: str, verdict: str, notes: Sequence[str], image: Callable[[int], np.ndarray],
         settings: Mapping[str, Any]) -> str:
    """The whole page, as HTML; ``image`` gives the picture of an index of the data set, uint8 (H, W) or (H, W, 3)."""
    rows = [[name.replace('_', ' '), value] for name, value in settings.items()]
    return document(f'Soft labels of {title}', verdict, notes, _numbers(findings), _bias(findings),
                    _calibration(findings), _images(findings, image),
                    side_by_side(_classes(findings), _confused(findings)),
                    section('Settings and machine', table(('setting', 'value'), rows, 'Settings', words=(1, ))))


def _numbers(findings: Findings) -> str:
    found, best_k, tau = findings.calibration, findings.biased.best_k, findings.temperature
    tiles = {
        'images': f'{found.num_samples:,}', 'classes': f'{len(findings.classes):,}',
        'accuracy': f'{found.accuracy:.2%}', 'NLL, nats': f'{found.nll:.4f}',
        'Brier score, 0 … 2': f'{found.brier:.4f}', 'ECE': f'{found.ece:.4f}',
        'entropy, nats': f'{found.entropy:.3f}',
        'temperature of the least NLL': 'none' if tau is None or findings.temperature_at_end else f'{tau:.2f}',
        'best k': str(best_k or 'none'), 'largest margin θ, at most 0.693': f'{findings.biased.margin.max():.3f}'}
    shown = ''.join(f'<div><dt>{escape(name)}</dt><dd>{value}</dd></div>' for name, value in tiles.items())
    return section('In numbers', f'<dl class="tiles">{shown}</dl>')


def _bias(findings: Findings) -> str:
    found, names = findings.biased, findings.classes
    rows = [[k + 1, *('{:.3f} ({:.3f} … {:.3f})'.format(getattr(found, name)[k], *ends[:, k])
                      for name, ends in found.intervals.items()), names[found.ambiguous_class[k]]]
            for k in range(len(found.margin))]
    key = '<span class="key {}" aria-hidden="true"></span>'.format
    caption = (f'{key("a")} Δ<sub>k</sub>: the right class is not among the k largest. {key("b")} γ<sub>k</sub>: how '
               f'often the most frequent wrong class is. {key("c")} Their sum; {key("good")} where it is below 1, '
               f'and the best k, {found.best_k or "here none"}. Bands: 95% of a bootstrap over images.')
    chart = svg(misleading(found), 'Unreliability, ambiguity and their sum for the k largest classes')
    numbers = table(('k', 'Δ', 'γ', 'θ, nats', 'γ of'), rows, 'Unreliability and ambiguity for each k', words=(4, ))
    if found.companions:
        k = found.best_k or 1
        label, wrong, share = found.companions[k - 1]
        images = findings.calibration.by_class[label, 0]
        numbers += small(f'The wrong class that accompanies one right class most often: {names[wrong]} is among the '
                         f'{k} largest for {share:.1%} of the {images:,.0f} images of {names[label]}. γ, an average '
                         'over all other classes, does not show it.' if share else
                         f'No image has a wrong class among its {k} largest.')
    return section('How much they mislead', side_by_side(figure(chart, caption), f'<div>{numbers}</div>'))


def _calibration(findings: Findings) -> str:
    found, tau = findings.calibration, findings.temperature
    bins = [[f'{b / len(found.bins):.2f} … {(b + 1) / len(found.bins):.2f}', f'{count:,.0f}', f'{confidence:.3f}',
             f'{accuracy:.3f}'] for b, (count, confidence, accuracy) in enumerate(found.bins) if count]
    left = figure(svg(reliability(found.bins), 'Reliability diagram: accuracy of the images in each confidence bin'),
                  'Accuracy at each confidence; on the dashed line confidence equals accuracy. ECE '
                  f'{found.ece:.4f}, {len(found.bins)} bins of equal width; pale: less than 1% of the fullest bin.',
                  table(('confidence', 'images', 'mean confidence', 'accuracy'), bins, 'Reliability'))
    right = figure(svg(entropies(found.entropy_counts, len(findings.classes)),
                       'Histogram of the entropy of the soft labels'),
                   f'Entropy at temperature 1, mean {found.entropy:.3f} nats: 0 is a hard label, the right end a '
                   'uniform one.',
                   small('Images from left to right: ' + ', '.join(f'{count:,}' for count in found.entropy_counts)))
    if tau is None:
        heat = 'No temperature makes the NLL finite.'
    elif findings.temperature_at_end:
        heat = f'The NLL falls with the temperature to the end of the search, {tau:g}: there is no best one.'
    else:
        heat = (f'At temperature {tau:.3f} the NLL is {findings.temperature_nll:.4f}, compared with {found.nll:.4f} '
                f'at 1 ({findings.temperature_samples:,} images).')
    return section('Whether their confidence equals their accuracy', side_by_side(left, right),
                   small(f'{heat} This is not the temperature of a distillation loss, which is mostly higher.'))


def _images(findings: Findings, image: Callable[[int], np.ndarray]) -> str:
    names, cards = [escape(name) for name in findings.classes], []
    for sample in findings.undecided:
        picture, label = image(sample.index), names[sample.label]
        rows = ''.join(f'<li{" class=right" if c == sample.label else ""}><span>{names[c]}</span><span>{p:.3f}</span>'
                       f'<i style="width:{100 * p:.1f}%"></i></li>' for c, p in sample.top)
        cards.append(f'<figure><img{" class=tiny" if max(picture.shape[:2]) < 64 else ""} src="{data_uri(picture)}" '
                     f'alt="Image {sample.index}, labelled {label}"><figcaption>image {sample.index}, label {label}, '
                     f'{sample.entropy:.2f} nats</figcaption><ol>{rows}</ol></figure>')
    return section('Undecided images',
                   small('The images of the largest entropy, with their largest soft labels; the label is green.'),
                   f'<div class="cards">{"".join(cards)}</div>')


def _classes(findings: Findings) -> str:
    found, biased = findings.calibration.by_class, findings.biased
    best_k = biased.best_k or 1
    order = sorted(range(len(found)), key=lambda c: (np.isnan(found[c, 1]), found[c, 1], found[c, 4]))
    numbers = np.concatenate([found[:, 1:], biased.unreliability_by_class[:, best_k - 1:best_k]], axis=1)
    rows = [[findings.classes[c], f'{found[c, 0]:,.0f}',
             *('–' if np.isnan(value) else f'{value:.4f}' for value in numbers[c])] for c in order]
    heads = ('class', 'images', 'accuracy', 'NLL', 'entropy', 'p of the class', f'Δ, k = {best_k}')
    return section('Class by class', table(heads, rows, 'Classes, the least accurate first'))


def _confused(findings: Findings) -> str:
    rows = [[findings.classes[pair.label], findings.classes[pair.taken_for], f'{pair.mistakes:,.4g}',
             f'{pair.share:.2%}', f'{pair.probability:.4f}'] for pair in findings.calibration.most_confused(PAIRS)]
    heads = ('class', 'taken for', 'images', 'of the class', 'mean probability')
    return section('Classes taken for each other', table(heads, rows, 'Pairs, most mistakes first', words=(1, ))
                   if rows else '<p>No class has any probability of another.</p>')
