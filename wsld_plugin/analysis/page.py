"""The parts of an HTML page: a single file, readable on a phone, light or dark, that requests nothing else."""
from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from PIL import Image

ROWS = 100  # of a table

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

CSS = '''
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --page: #ffffff; --box: #f4f6f8; --rule: #d0d7de;
  --a: #0b62b0; --b: #b1490a; --c: #57606a; --good: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #a9b3be; --page: #14181d; --box: #1d232a;
  --rule: #3a434d; --a: #6cb0f5; --b: #f2a064; --c: #a9b3be; --good: #56c271; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p.verdict { font-size: 1.15rem; padding: .8rem 1rem; background: var(--box); border-left: 4px solid var(--a); }
p.small, figcaption, li, summary, .cut { color: var(--soft); font-size: .9rem; }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  align-items: start; } .grid > * { min-width: 0; }
.tiles { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); margin: 0; }
.tiles div { background: var(--box); padding: .6rem .8rem; } .tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.25rem; }
figure { margin: 0; background: var(--box); padding: .8rem; min-width: 0; }
svg { width: 100%; height: auto; max-width: 34rem; display: block; margin: 0 auto; }
.key { display: inline-block; width: .8em; height: .8em; background: currentColor; }
.a { color: var(--a); } .b { color: var(--b); } .c { color: var(--c); } .good { color: var(--good); }
.scroll { overflow: auto; max-width: 100%; max-height: 32rem; }
thead th { position: sticky; top: 0; background: var(--page); } figure thead th { background: var(--box); }
.scroll:focus { outline: 2px solid var(--a); }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.words { white-space: normal; min-width: 9rem; }
th, td { padding: .25rem .5rem .25rem 0; text-align: right; border-bottom: 1px solid var(--rule); }
th { font-weight: 600; } th:first-child, td:first-child, .words { text-align: left; }
.cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 11rem), 1fr)); }
.cards figure { font-size: .85rem; } .cards img { width: 7rem; height: 7rem; object-fit: contain; display: block; }
.cards img.tiny { image-rendering: pixelated; } .cards ol { list-style: none; margin: .4rem 0 0; padding: 0; }
.cards li { display: grid; grid-template-columns: 1fr auto; gap: .5rem; color: var(--ink); }
.cards i { grid-column: 1 / -1; height: 4px; background: var(--a); } .cards .right i { background: var(--good); }
.cards .right { font-weight: 600; }
'''
# Charts are drawn in the colours of the light scheme, which `plots.svg` replaces by the variables.
COLOURS: dict[str, str] = dict(re.findall(r'--(\w+): (#\w{6})', CSS.split('@media')[0]))


def document(heading: str, verdict: str, notes: Iterable[str], *sections: str) -> str:
    """The whole page: a heading, a sentence, remarks (text), and sections (HTML)."""
    heading, items = escape(heading), ''.join(f'<li>{escape(note)}</li>' for note in notes)
    return ''.join([
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{heading}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><link rel="icon" href="data:,">',
        f'<style>{CSS}</style></head><body><header><h1>{heading}</h1><p class="verdict">{escape(verdict)}</p>',
        f'<ul>{items}</ul>' if items else '', '</header><main>', *sections, '</main></body></html>\n'])


def section(title: str, *parts: str) -> str:
    """A part of the page under a heading."""
    return f'<section><h2>{escape(title)}</h2>{"".join(parts)}</section>'


def small(text: str) -> str:
    """A paragraph of remarks."""
    return f'<p class="small">{escape(text)}</p>'


def side_by_side(*parts: str) -> str:
    """Parts beside each other if there is room, else below each other."""
    return f'<div class="grid">{"".join(parts)}</div>'


def figure(svg: str, caption: str, details: str = '') -> str:
    """A chart, its caption (HTML), and its numbers (HTML), folded."""
    more = f'<details><summary>The numbers</summary>{details}</details>' if details else ''
    return f'<figure>{svg}<figcaption>{caption}</figcaption>{more}</figure>'


def table(heads: Sequence[str], rows: Sequence[Iterable[str | float | int]], label: str,
          words: Sequence[int] = ()) -> str:
    """A table in a scrolling box, with ``label`` as alternative text, cut after `ROWS` rows with a line that says so.

    ``words`` are the columns that are aligned left, besides the first.
    """
    def cells(tag: str, values: Iterable[str | float | int], more: str = '') -> str:
        return ''.join(f'<{tag}{more}{" class=words" if place in words else ""}>{escape(str(value))}</{tag}>'
                       for place, value in enumerate(values))
    body = ''.join(f'<tr>{cells("td", row)}</tr>' for row in rows[:ROWS])
    cut = f'<p class="cut">The first {ROWS} of {len(rows):,} rows; all are in report.json.</p>' * (len(rows) > ROWS)
    return (f'<div class="scroll" role="region" aria-label="{escape(label)}" tabindex="0"><table><thead><tr>'
            f'{cells("th", heads, " scope=col")}</tr></thead><tbody>{body}</tbody></table></div>{cut}')


def data_uri(image: np.ndarray) -> str:
    """A uint8 image, (H, W) or (H, W, 3) in RGB, as a PNG in a ``data:`` address, at most 192 pixels wide or high."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((192, 192))
    buffer = io.BytesIO()
    picture.save(buffer, 'PNG', optimize=True)
    return 'data:image/png;base64,' + base64.b64encode(buffer.getvalue()).decode()
