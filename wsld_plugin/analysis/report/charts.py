"""Charts as inline SVG that takes its colours from the page; small enough to be read on a phone."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

import numpy as np

from wsld_plugin.analysis.biased import BiasedLabels

_WIDTH, _HEIGHT = 360, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 18, 10, 38


class Chart:
    """Axes of a chart, and what was drawn on them.

    Args:
        title: read to who cannot see it: what it shows.
        xlabel, ylabel: with units.
        xlim, ylim: ranges of the data; ``log`` makes the x axis logarithmic.
        xticks, yticks: values and their texts; plain numbers by default.
    """

    def __init__(self, title: str, xlabel: str, ylabel: str, xlim: tuple[float, float], ylim: tuple[float, float],
                 xticks: Iterable[float], yticks: Iterable[float], log: bool = False,
                 text: Callable[[float], str] = '{:g}'.format) -> None:
        self.xlim, self.ylim, self.log = xlim, ylim, log
        self.head = (f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}" '
                     'xmlns="http://www.w3.org/2000/svg">')
        self.parts: list[str] = []
        for value in yticks:
            y = self._y(value)
            self.parts.append(f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
                              f'<text x="{_LEFT - 5}" y="{y + 4}" text-anchor="end">{text(value)}</text>')
        for value in xticks:
            self.parts.append(f'<text x="{self._x(value)}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">'
                              f'{value:g}</text>')
        middle = (_TOP + _HEIGHT - _BOTTOM) / 2
        self.parts.append(f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">'
                          f'{escape(xlabel)}</text><text x="12" y="{middle}" text-anchor="middle" '
                          f'transform="rotate(-90 12 {middle})">{escape(ylabel)}</text>')

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        """A line through the points; dots where they are few."""
        points = [(self._x(x), self._y(y)) for x, y in zip(xs, ys, strict=True)]
        self.parts.append(f'<polyline class="line {kind}" points="{_points(points)}"/>')
        if len(points) <= 20:
            self.parts += [f'<circle class="dot {kind}" cx="{x}" cy="{y}" r="2.5"/>' for x, y in points]

    def band(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], kind: str) -> None:
        """The area between two lines."""
        points = [(self._x(x), self._y(y)) for x, y in [*zip(xs, low, strict=True),
                                                        *list(zip(xs, high, strict=True))[::-1]]]
        self.parts.append(f'<polygon class="band {kind}" points="{_points(points)}"/>')

    def bar(self, left: float, right: float, height: float, kind: str, tip: str) -> None:
        """A bar from the lower end of the y axis; ``tip`` is shown where a pointer rests on it."""
        x, y = self._x(left), self._y(height)
        width, size = max(self._x(right) - x - 1, 0.5), max(self._y(self.ylim[0]) - y, 0)
        self.parts.append(f'<rect class="bar {kind}" x="{x}" y="{y}" width="{width:.1f}" height="{size:.1f}">'
                          f'<title>{escape(tip)}</title></rect>')

    def mark(self, x: float, kind: str) -> None:
        """A vertical line."""
        self.parts.append(f'<line class="line {kind}" x1="{self._x(x)}" x2="{self._x(x)}" y1="{_TOP}" '
                          f'y2="{_HEIGHT - _BOTTOM}"/>')

    def svg(self) -> str:
        """The element."""
        return self.head + ''.join(self.parts) + '</svg>'

    def _x(self, value: float) -> float:
        low, high, at = (math.log(each) if self.log else each for each in (*self.xlim, value))
        return round(_LEFT + (at - low) / ((high - low) or 1) * (_WIDTH - _LEFT - _RIGHT), 1)

    def _y(self, value: float) -> float:
        low, high = self.ylim
        part = (min(max(value, low), high) - low) / ((high - low) or 1)
        return round(_HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM), 1)


def reliability(bins: np.ndarray) -> str:
    """Accuracy over confidence (B, 3), beside the diagonal of a calibrated teacher."""
    chart = Chart('Reliability diagram: accuracy of the images in each bin of confidence', 'confidence', 'accuracy',
                  (0, 1), (0, 1), (0, .25, .5, .75, 1), (0, .25, .5, .75, 1))
    most = bins[:, 0].max()
    for place, (count, confidence, accuracy) in enumerate(bins):
        if count:
            kind = 'a' if count >= most / 100 else 'a few'
            chart.bar(place / len(bins), (place + 1) / len(bins), accuracy, kind,
                      f'{count:,.0f} images, confidence {confidence:.3f}, accuracy {accuracy:.3f}')
    chart.line((0, 1), (0, 1), 'c')
    return chart.svg()


def entropies(counts: np.ndarray, num_classes: int) -> str:
    """How many images have an entropy of how many nats; the bars grow with the logarithm of 1 + images."""
    top, powers = math.log(num_classes), [10**power for power in range(len(str(int(counts.max()))) + 1)]
    chart = Chart('Histogram of the entropy of the soft labels', 'entropy, nats', 'images, logarithmic', (0, top),
                  (0, math.log1p(powers[-1])), [round(top * part / 4, 2) for part in range(5)],
                  [math.log1p(each) for each in (0, *powers)], text=lambda y: f'{math.expm1(y):,.0f}')
    for place, count in enumerate(counts):
        low, high = (top * (place + step) / len(counts) for step in (0, 1))
        chart.bar(low, high, math.log1p(count), 'a', f'{count:,} images of {low:.2f} … {high:.2f} nats')
    return chart.svg()


def misleading(found: BiasedLabels) -> str:
    """Δ_k, γ_k and their sum over k, the range where the sum is below 1, and the best k."""
    ks = list(range(1, len(found.margin) + 1))
    log = len(ks) > 20
    ticks = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= ks[-1]] if log else ks
    chart = Chart('Unreliability, ambiguity and their sum for the k largest classes', 'k', 'probability',
                  (0.9, 1.1 * ks[-1]) if log else (0.7, ks[-1] + 0.3), (0, 1.5), ticks,
                  (0, .25, .5, .75, 1, 1.25, 1.5), log)
    total = found.unreliability + found.ambiguity
    chart.band(ks, np.minimum(total, 1).tolist(), [1] * len(ks), 'good')
    for name, values, kind in (('unreliability', found.unreliability, 'a'), ('ambiguity', found.ambiguity, 'b')):
        if name in found.intervals:
            low, high = found.intervals[name].tolist()
            chart.band(ks, low, high, kind)
        chart.line(ks, values.tolist(), kind)
    chart.line(ks, total.tolist(), 'c')
    if found.best_k:
        chart.mark(found.best_k, 'best')
    return chart.svg()


def _points(points: Sequence[tuple[float, float]]) -> str:
    return ' '.join(f'{x},{y}' for x, y in points)
