"""The numbers of a report, from one pass over the samples."""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsld_plugin.analysis.biased import BiasedLabels, BiasedLabelStatistics, Companion, check_max_k
from wsld_plugin.analysis.calibration import TEMPERATURES, Calibration, CalibrationStatistics, best_temperature
from wsld_plugin.analysis.confusion import Confused, ConfusionStatistics, entropy_of
from wsld_plugin.errors import RunError

Batch = tuple[Tensor, Tensor, Sequence[int]]

_KEPT = 10_000  # samples whose logits are kept for the temperature
_SHOWN = 12  # images
_PAIRS = 15  # of classes
_LABELS = 5  # of an image
_LARGEST_K = 100  # where the classes are more and nobody asks for more
REPLICATES = 200  # of the bootstrap


@dataclass(frozen=True)
class Undecided:
    """A sample that the teacher cannot decide on: its place, label, entropy, and largest (class, probability)."""

    index: int
    label: int
    entropy: float
    top: list[tuple[int, float]]


@dataclass(frozen=True)
class Findings:
    """All numbers of a report.

    Attributes:
        biased, calibration, confused: see their classes.
        temperature: of the smallest NLL, None where there is none; ``temperature_nll`` its NLL;
            ``temperature_samples`` how many samples it was found on.
        undecided: the samples of the largest entropy, the largest first.
    """

    classes: list[str]
    biased: BiasedLabels
    calibration: Calibration
    confused: list[Confused]
    temperature: float | None
    temperature_nll: float
    temperature_samples: int
    undecided: list[Undecided]

    @property
    def temperature_at_end(self) -> bool:
        """Whether the best temperature is where the search ends: there is no best one."""
        return self.temperature is not None and any(
            math.isclose(self.temperature, end, rel_tol=1e-6) for end in TEMPERATURES)


def measure(batches: Iterable[Batch], classes: Sequence[str], num_samples: int, max_k: int | None = None) -> Findings:
    """Measure soft labels in one pass.

    Args:
        batches: logits (n, C), labels (n,) and n places in the data set, batch after batch.
        classes: names of the C classes.
        num_samples: how many there are in all, to choose those whose logits are kept.
        max_k: the largest k; None: C, but at most 100.

    Raises:
        ConfigError: ``max_k``. RunError: logits that cannot be measured, with the place where; samples of
            one class.
    """
    count = len(classes)
    check_max_k(max_k, count)
    biased = BiasedLabelStatistics(count, max_k or min(count, _LARGEST_K), bootstrap=REPLICATES)
    calibration, confusion = CalibrationStatistics(count), ConfusionStatistics(count)
    every, place = max(math.ceil(num_samples / _KEPT), 1), 0
    kept: list[tuple[Tensor, Tensor]] = []
    undecided: list[Undecided] = []
    for logits, target, indices in batches:
        logits, target = logits.detach(), target.to(logits.device)
        try:
            biased.update(logits, target, indices)
            calibration.update(logits, target)
            confusion.update(logits, target)
        except ValueError as error:
            raise RunError(f'soft labels of the {len(logits)} images from {indices[0]} on: {error}') from error
        rows = slice(-place % every, None, every)
        kept.append((logits[rows].cpu(), target[rows].cpu()))
        undecided = _most_undecided([*undecided, *_candidates(logits, target, indices)])
        place += len(logits)
    chosen, labels = (torch.cat(parts) for parts in zip(*kept, strict=True))
    temperature, nll = _temperature(chosen, labels)
    try:
        found = biased.result()
    except ValueError as error:
        raise RunError(f'{error} Take images of more classes: another split, or no --max-samples.') from error
    return Findings(list(classes), found, calibration.result(), confusion.most_confused(_PAIRS),
                    temperature, nll, len(chosen), undecided)


def _temperature(logits: Tensor, target: Tensor) -> tuple[float | None, float]:
    if logits.gather(1, target[:, None]).isinf().any():
        return None, math.inf
    return best_temperature(logits, target)


def _candidates(logits: Tensor, target: Tensor, indices: Sequence[int]) -> list[Undecided]:
    entropy = entropy_of(logits)
    rows = entropy.topk(min(_SHOWN, len(entropy))).indices
    top = logits[rows].double().softmax(1).topk(min(_LABELS, logits.shape[1]))
    return [Undecided(indices[row], int(target[row]), float(entropy[row]), list(zip(names, values, strict=True)))
            for row, names, values in zip(rows.tolist(), top.indices.tolist(), top.values.tolist(), strict=True)]


def _most_undecided(samples: list[Undecided]) -> list[Undecided]:
    return sorted(samples, key=lambda sample: (-sample.entropy, sample.index))[:_SHOWN]


def as_json(findings: Findings) -> dict[str, Any]:
    """The findings in plain lists and numbers; what is not a finite number as None, ``'inf'`` or ``'-inf'``."""
    biased, calibration, names = findings.biased, findings.calibration, findings.classes
    ks = range(1, len(biased.margin) + 1)
    return _plain(dict(
        num_samples=calibration.num_samples, num_classes=len(names), accuracy=calibration.accuracy,
        nll=calibration.nll, brier=calibration.brier, ece=calibration.ece, entropy=calibration.entropy,
        temperature=findings.temperature, temperature_nll=findings.temperature_nll,
        temperature_samples=findings.temperature_samples, temperature_at_end=findings.temperature_at_end,
        best_k=biased.best_k,
        k=[dict(k=k, unreliability=biased.unreliability[k - 1], ambiguity=biased.ambiguity[k - 1],
                ambiguous_class=names[biased.ambiguous_class[k - 1]], margin=biased.margin[k - 1],
                companion=_companion(biased.companions[k - 1], names) if biased.companions else None,
                intervals={name: ends[:, k - 1] for name, ends in biased.intervals.items()}) for k in ks],
        reliability=[dict(zip(('samples', 'confidence', 'accuracy'), row, strict=True)) for row in calibration.bins],
        entropy_counts=calibration.entropy_counts,
        classes=[dict(zip(('name', 'samples', 'accuracy', 'nll', 'entropy', 'label_prob'), (name, *row), strict=True))
                 for name, row in zip(names, calibration.by_class, strict=True)],
        confused=[{**pair._asdict(), 'label': names[pair.label], 'taken_for': names[pair.taken_for]}
                  for pair in findings.confused],
        undecided=[dict(index=each.index, label=names[each.label], entropy=each.entropy,
                        top=[dict(name=names[c], probability=p) for c, p in each.top])
                   for each in findings.undecided]))


def _companion(pair: Companion, names: Sequence[str]) -> dict[str, Any]:
    return dict(label=names[pair.label], wrong=names[pair.wrong], share=pair.share)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return None if math.isnan(value) else str(float(value))
    return value.item() if isinstance(value, np.generic) else value
