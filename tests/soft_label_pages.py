"""Reading the page of a report strictly: every element is closed in order, and no attribute occurs twice."""
from __future__ import annotations

from html.parser import HTMLParser

import torch

from wsld_plugin.studies.teacher_report.measures import Findings, measure

_VOID = {'meta', 'link', 'img', 'br', 'hr', 'input'}


class Page(HTMLParser):
    """The elements and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f'not closed: {self.open}'

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (tag, names)
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag, f'</{tag}> does not close {self.getpos()}'

    def handle_data(self, data):
        if not {'style', 'script'} & set(self.open):
            self.texts.append(data)

    def text(self) -> str:
        """All text that is shown."""
        return ' '.join(self.texts)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def samples(n: int = 60, c: int = 10, skill: float = 3.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random logits, ``skill`` higher at the label."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(n) % c
    return torch.randn(n, c, generator=generator) + skill * torch.nn.functional.one_hot(target, c), target


def findings(n: int = 60, c: int = 10, names: list[str] | None = None, batch: int = 16,
             logits: torch.Tensor | None = None, max_k: int | None = None, **settings) -> Findings:
    """Of random soft labels, in batches."""
    drawn, target = samples(n, c, **settings)
    logits = drawn if logits is None else logits
    batches = [(logits[at:at + batch], target[at:at + batch], list(range(n))[at:at + batch])
               for at in range(0, n, batch)]
    return measure(batches, names or [f'class {k}' for k in range(c)], n, max_k)
