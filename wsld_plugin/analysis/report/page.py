"""The page: one file of HTML that asks for nothing else."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from .charts import entropies, misleading, reliability
from .findings import Findings, Undecided
from .html import figure, key, section, side_by_side, small, table
from .images import data_uri
from .style import CSS

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_HEAD = ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
         '<meta name="viewport" content="width=device-width, initial-scale=1">'
         f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><link rel="icon" href="data:,">'
         '<style>{css}</style></head>')


def page(findings: Findings, title: str, verdict: str, notes: Sequence[str], image: Callable[[int], np.ndarray],
         settings: Mapping[str, Any]) -> str:
    """The whole page.

    Args:
        findings: the numbers.
        title: the teacher's name.
        verdict: the sentence at the top.
        notes: sentences below it.
        image: gives the picture at a place of the data set, uint8 (H, W) or (H, W, 3).
        settings: what was measured, and with what, by name.
    """
    heading = escape(f'Soft labels of {title}')
    said = ''.join(f'<li>{escape(note)}</li>' for note in notes)
    rows = [[name.replace('_', ' '), value] for name, value in settings.items()]
    return ''.join([
        _HEAD.format(title=heading, css=CSS),
        f'<body><header><h1>{heading}</h1><p class="verdict">{escape(verdict)}</p>',
        f'<ul>{said}</ul>' if said else '', '</header><main>', _numbers(findings), _bias(findings),
        _calibration(findings), _images(findings, image), side_by_side(_classes(findings), _confused(findings)),
        section('Settings and machine', table(('setting', 'value'), rows, 'Settings', words=(1, ))),
        '</main></body></html>\n'])


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
    measures = dict(unreliability=found.unreliability, ambiguity=found.ambiguity, margin=found.margin)
    rows = [[k, *(_estimate(value, found.intervals.get(name), k) for name, value in measures.items()),
             names[found.ambiguous_class[k - 1]]] for k in range(1, len(found.margin) + 1)]
    caption = (f'{key("a")} Δ<sub>k</sub>: the right class is not among the k largest. {key("b")} γ<sub>k</sub>: how '
               f'often the commonest wrong class is. {key("c")} Their sum; {key("good")} where it is below 1, and '
               f'the best k, {found.best_k or "here none"}. Bands: 95% of a bootstrap over images.')
    return section('How far they mislead', side_by_side(
        figure(misleading(found), caption),
        '<div>' + table(('k', 'Δ', 'γ', 'θ, nats', 'γ of'), rows, 'Unreliability and ambiguity for each k',
                        words=(4, )) + _companion(findings) + '</div>'))


def _companion(findings: Findings) -> str:
    found, names = findings.biased, findings.classes
    if not found.companions:
        return ''
    k = found.best_k or 1
    label, wrong, share = found.companions[k - 1]
    if not share:
        return small(f'No image has a wrong class among its {k} largest.')
    images = findings.calibration.by_class[label, 0]
    return small(f'The wrong class that accompanies one right class most often: {names[wrong]} is among the {k} '
                 f'largest for {share:.1%} of the {images:,.0f} images of {names[label]}. γ, taken over all other '
                 'classes, does not see it.')


def _calibration(findings: Findings) -> str:
    found, tau = findings.calibration, findings.temperature
    bins = [[f'{b / len(found.bins):.2f} … {(b + 1) / len(found.bins):.2f}', f'{count:,.0f}', f'{confidence:.3f}',
             f'{accuracy:.3f}'] for b, (count, confidence, accuracy) in enumerate(found.bins) if count]
    left = figure(reliability(found.bins),
                  'Accuracy at each confidence; on the dashed line a teacher is as often right as it believes. ECE '
                  f'{found.ece:.4f}, {len(found.bins)} bins of equal width; pale: less than 1% of the fullest bin.',
                  table(('confidence', 'images', 'mean confidence', 'accuracy'), bins, 'Reliability'))
    right = figure(entropies(found.entropy_counts, len(findings.classes)),
                   f'Entropy at temperature 1, mean {found.entropy:.3f} nats: 0 is a hard label, the right end a '
                   'uniform one.',
                   small('Images from left to right: ' + ', '.join(f'{count:,}' for count in found.entropy_counts)))
    if tau is None:
        heat = 'No temperature makes the NLL finite.'
    elif findings.temperature_at_end:
        heat = f'The NLL falls with the temperature to the end of the search, {tau:g}: there is no best one.'
    else:
        heat = (f'At temperature {tau:.3f} the NLL is {findings.temperature_nll:.4f}, in place of {found.nll:.4f} at '
                f'1 ({findings.temperature_samples:,} images).')
    return section('Whether they are as often right as they say', side_by_side(left, right),
                   small(f'{heat} The temperature of a distillation loss is another matter: it is mostly higher.'))


def _images(findings: Findings, image: Callable[[int], np.ndarray]) -> str:
    cards = ''.join(_card(sample, findings.classes, image(sample.index)) for sample in findings.undecided)
    return section('What it cannot decide on',
                   small('The images of the largest entropy, with their largest soft labels; the label is green.'),
                   f'<div class="cards">{cards}</div>')


def _card(sample: Undecided, names: Sequence[str], image: np.ndarray) -> str:
    label = escape(names[sample.label])
    rows = ''.join(f'<li{" class=right" if c == sample.label else ""}><span>{escape(names[c])}</span>'
                   f'<span>{p:.3f}</span><i style="width:{100 * p:.1f}%"></i></li>' for c, p in sample.top)
    picture = (f'<img{" class=tiny" if max(image.shape[:2]) < 64 else ""} src="{data_uri(image)}" '
               f'alt="Image {sample.index}, labelled {label}">')
    caption = f'image {sample.index}, label {label}, {sample.entropy:.2f} nats'
    return f'<figure>{picture}<figcaption>{caption}</figcaption><ol>{rows}</ol></figure>'


def _classes(findings: Findings) -> str:
    found, biased = findings.calibration.by_class, findings.biased
    best_k = biased.best_k or 1
    order = sorted(range(len(found)), key=lambda c: (np.isnan(found[c, 1]), found[c, 1], found[c, 4]))
    rows = [[findings.classes[c], f'{found[c, 0]:,.0f}', *(_number(value) for value in found[c, 1:]),
             _number(biased.unreliability_by_class[c, best_k - 1])] for c in order]
    heads = ('class', 'images', 'accuracy', 'NLL', 'entropy', 'p of the class', f'Δ, k = {best_k}')
    return section('Class by class', table(heads, rows, 'Classes, the least accurate first'))


def _confused(findings: Findings) -> str:
    rows = [[findings.classes[pair.label], findings.classes[pair.taken_for], f'{pair.mistakes:,.4g}',
             f'{pair.share:.2%}', f'{pair.probability:.4f}'] for pair in findings.confused]
    heads = ('class', 'taken for', 'images', 'of the class', 'mean probability')
    return section('Classes taken for each other', table(heads, rows, 'Pairs, most mistakes first', words=(1, ))
                   if rows else '<p>No class has any probability of another.</p>')


def _estimate(values: np.ndarray, ends: np.ndarray | None, k: int) -> str:
    interval = '' if ends is None else f' ({ends[0, k - 1]:.3f} … {ends[1, k - 1]:.3f})'
    return f'{values[k - 1]:.3f}{interval}'


def _number(value: float) -> str:
    return '–' if np.isnan(value) else f'{value:.4f}'
