"""The numbers of a report, from one pass over the samples, and what they mean for a student, in words."""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsld_plugin.analysis.biased import BiasedLabels, BiasedLabelStatistics
from wsld_plugin.analysis.calibration import (
    TEMPERATURES,
    Calibration,
    CalibrationStatistics,
    Confused,
    ConfusionStatistics,
    best_temperature,
    entropy_of,
)
from wsld_plugin.errors import RunError

Batch = tuple[Tensor, Tensor, Sequence[int]]

REPLICATES = 200  # of the bootstrap

_KEPT = 10_000  # samples whose logits are kept for the temperature
_SHOWN = 12  # images
_PAIRS = 15  # of classes
_LABELS = 5  # of an image
_LARGEST_K = 100  # by default
# In nats, of at most 0.693. On 1,200 digits students of a teacher with 0.65 reached its 89%, those of one with 0.41
# and 28% less than 40%: see docs/teacher.md
_CLEAR = 0.5
_CERTAIN = 0.99


@dataclass(frozen=True)
class Undecided:
    """A sample of large entropy: its index, label, entropy, and largest (class, probability)."""

    index: int
    label: int
    entropy: float
    top: list[tuple[int, float]]


@dataclass(frozen=True)
class Findings:
    """All numbers of a report.

    Attributes:
        classes: names of the C classes.
        biased, calibration, confused: see their classes.
        temperature: of the smallest NLL, None if there is none; ``temperature_nll`` its NLL;
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
        """Whether the best temperature is an end of the search range, so that there is no best one."""
        return self.temperature is not None and any(
            math.isclose(self.temperature, end, rel_tol=1e-6) for end in TEMPERATURES)


def measure(batches: Iterable[Batch], classes: Sequence[str], num_samples: int, max_k: int | None = None) -> Findings:
    """Measure soft labels in one pass.

    Args:
        batches: logits (n, C), labels (n,) and n indices in the data set, batch after batch.
        classes: names of the C classes.
        num_samples: of all batches, to choose those whose logits are kept.
        max_k: the largest k; None: C, but at most 100.

    Raises:
        ConfigError: ``max_k``. RunError: logits that cannot be measured, with their place; samples of one class.
    """
    count = len(classes)
    biased = BiasedLabelStatistics(count, min(count, _LARGEST_K) if max_k is None else max_k, bootstrap=REPLICATES)
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
        undecided = sorted([*undecided, *_candidates(logits, target, indices)],
                           key=lambda sample: (-sample.entropy, sample.index))[:_SHOWN]
        place += len(logits)
    chosen, labels = (torch.cat(parts) for parts in zip(*kept, strict=True))
    never = chosen.gather(1, labels[:, None]).isinf().any()
    temperature, nll = (None, math.inf) if never else best_temperature(chosen, labels)
    try:
        found = biased.result()
    except ValueError as error:
        raise RunError(f'{error} Use images of more classes: another split, or no --max-samples.') from error
    return Findings(list(classes), found, calibration.result(), confusion.most_confused(_PAIRS),
                    temperature, nll, len(chosen), undecided)


def as_json(findings: Findings) -> dict[str, Any]:
    """The findings in plain lists and numbers; numbers that are not finite as None, ``'inf'`` or ``'-inf'``."""
    biased, calibration, names = findings.biased, findings.calibration, findings.classes
    return _plain(dict(
        num_samples=calibration.num_samples, num_classes=len(names), accuracy=calibration.accuracy,
        nll=calibration.nll, brier=calibration.brier, ece=calibration.ece, entropy=calibration.entropy,
        temperature=findings.temperature, temperature_nll=findings.temperature_nll,
        temperature_samples=findings.temperature_samples, temperature_at_end=findings.temperature_at_end,
        best_k=biased.best_k,
        k=[dict(k=k + 1, unreliability=biased.unreliability[k], ambiguity=biased.ambiguity[k],
                ambiguous_class=names[biased.ambiguous_class[k]], margin=biased.margin[k],
                companion=dict(label=names[biased.companions[k].label], wrong=names[biased.companions[k].wrong],
                               share=biased.companions[k].share) if biased.companions else None,
                intervals={name: ends[:, k] for name, ends in biased.intervals.items()})
           for k in range(len(biased.margin))],
        reliability=[dict(zip(('samples', 'confidence', 'accuracy'), row, strict=True)) for row in calibration.bins],
        entropy_counts=calibration.entropy_counts,
        classes=[dict(zip(('name', 'samples', 'accuracy', 'nll', 'entropy', 'label_prob'), (name, *row), strict=True))
                 for name, row in zip(names, calibration.by_class, strict=True)],
        confused=[{**pair._asdict(), 'label': names[pair.label], 'taken_for': names[pair.taken_for]}
                  for pair in findings.confused],
        undecided=[dict(index=each.index, label=names[each.label], entropy=each.entropy,
                        top=[dict(name=names[c], probability=p) for c, p in each.top])
                   for each in findings.undecided]))


def verdict(findings: Findings, made_from_labels: bool = False) -> str:
    """One sentence that says what the soft labels predict for a student.

    It says only what the condition Δ + γ < 1 does: whether the right classes can be learned from soft labels alone.

    Args:
        findings: of a teacher.
        made_from_labels: whether it computes its soft labels from the labels alone, as a `VirtualTeacher` does.
    """
    if made_from_labels:
        return ('A student learns from these soft labels what label smoothing teaches: they are made from the labels '
                'and say nothing about an image.')
    biased = findings.biased
    k, expect_not = biased.best_k, 'Do not expect a student to find the right classes from these soft labels alone'
    if k is None:
        return f'{expect_not}: for no k is Δ + γ below 1.'
    wrong, share, margin = (float(each[k - 1]) for each in (biased.unreliability, biased.ambiguity, biased.margin))
    misses, chosen = (('first choice is wrong', 'chosen') if k == 1 else
                      (f'{k} largest miss the right class', 'among them'))
    which = (f'its {misses} for Δ = {wrong:.1%} of the images, and no class is {chosen} for more than '
             f'γ = {share:.1%} of the images of others')
    if biased.intervals:
        # The best of several k is chosen on the same images: of uninformed teachers with ten classes and 60 images
        # 18% would pass by the interval itself, none by its percentiles (60 drawn).
        low, high = biased.intervals['margin'][:, k - 1]
        if min(low, 2 * margin - high) <= 0:
            return f'{expect_not}: that Δ + γ is below 1 may be chance ({which}).'
    how = 'can be expected to find' if margin >= _CLEAR else 'can still find'
    slowly = '' if margin >= _CLEAR else ', but needs many images, because they mislead often'
    return f'A student {how} the right classes from these soft labels alone{slowly}: {which}.'


def notes(findings: Findings, made_from_labels: bool = False) -> list[str]:
    """Further sentences that a reader should know, the most important first."""
    if made_from_labels:
        return []
    calibration, classes, found = findings.calibration, findings.classes, []
    k = findings.biased.best_k
    if k is not None and findings.biased.companions:
        # a wrong class that comes with a right one at least as often as the right one itself
        label, wrong, share = findings.biased.companions[k - 1]
        if share >= 1 - findings.biased.unreliability_by_class[label, k - 1] - 1e-9:
            found.append(f'Of the {calibration.by_class[label, 0]:,.0f} images of {classes[label]}, {classes[wrong]} '
                         f'is among the {k} largest at least as often as {classes[label]}: from these soft labels '
                         'alone a student may not learn to distinguish them, whatever Δ and γ say.')
    if k is not None and k > 1:
        found.append(f'Its first choice misleads more than its first {k} together: give the soft labels a low weight '
                     'beside hard ones, and use a high temperature.')
    if calibration.accuracy >= _CERTAIN and math.exp(calibration.entropy) < 1.05:
        found.append('At temperature 1 its soft labels are almost the labels: only a higher temperature shows the '
                     'other classes.')
    tau = findings.temperature
    if tau is None:
        found.append('Some right classes have probability 0: their NLL is infinite at every temperature.')
    elif not findings.temperature_at_end and not 0.8 <= tau <= 1.25:
        kind = 'over-confident' if tau > 1 else 'less confident than it is right'
        found.append(f'It is {kind}: its probabilities are closest to the truth at a temperature of {tau:.2f}, '
                     'not 1.')
    empty = sum(row[0] == 0 for row in calibration.by_class)
    if empty:
        found.append(f'{empty} of {len(classes)} classes have no image here, so nothing is known about them.')
    if calibration.num_samples < 10 * len(classes):
        found.append(f'{calibration.num_samples:,} images are few for {len(classes)} classes: see the intervals.')
    return found


def _candidates(logits: Tensor, target: Tensor, indices: Sequence[int]) -> list[Undecided]:
    entropy = entropy_of(logits)
    rows = entropy.topk(min(_SHOWN, len(entropy))).indices
    top = logits[rows].double().softmax(1).topk(min(_LABELS, logits.shape[1]))
    return [Undecided(indices[row], int(target[row]), float(entropy[row]), list(zip(names, values, strict=True)))
            for row, names, values in zip(rows.tolist(), top.indices.tolist(), top.values.tolist(), strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return None if math.isnan(value) else str(float(value))
    return value.item() if isinstance(value, np.generic) else value
