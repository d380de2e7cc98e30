"""Pieces of the page."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

ROWS = 100  # of a table

Cell = str | float | int


def section(title: str, *parts: str) -> str:
    """A part of the page under a heading."""
    return f'<section><h2>{escape(title)}</h2>{"".join(parts)}</section>'


def small(text: str) -> str:
    """A paragraph of remarks."""
    return f'<p class="small">{escape(text)}</p>'


def side_by_side(*parts: str) -> str:
    """Beside each other where there is room, else below."""
    return f'<div class="grid">{"".join(parts)}</div>'


def figure(svg: str, caption: str, details: str = '') -> str:
    """A chart, what it shows (HTML), and its numbers to be unfolded."""
    more = f'<details><summary>The numbers</summary>{details}</details>' if details else ''
    return f'<figure>{svg}<figcaption>{caption}</figcaption>{more}</figure>'


def key(kind: str) -> str:
    """A square in the colour of a kind of line."""
    return f'<span class="key {kind}" aria-hidden="true"></span>'


def table(heads: Sequence[str], rows: Sequence[Iterable[Cell]], what: str, words: Sequence[int] = ()) -> str:
    """A table in a box of its own that scrolls, cut after `ROWS` rows with a line that says so.

    Args:
        heads: of the columns.
        rows: one cell a head.
        what: the table shows, for who cannot see it.
        words: columns that are no numbers; the first is none anyway.
    """
    def cells(tag: str, values: Iterable[Cell], more: str = '') -> str:
        return ''.join(f'<{tag}{more}{" class=words" if place in words else ""}>{escape(str(value))}</{tag}>'
                       for place, value in enumerate(values))
    body = ''.join(f'<tr>{cells("td", row)}</tr>' for row in rows[:ROWS])
    cut = (f'<p class="cut">The first {ROWS} of {len(rows):,} rows; all are in report.json.</p>'
           if len(rows) > ROWS else '')
    return (f'<div class="scroll" role="region" aria-label="{escape(what)}" tabindex="0"><table><thead><tr>'
            f'{cells("th", heads, " scope=col")}</tr></thead><tbody>{body}</tbody></table></div>{cut}')
