"""The numbers of a report, from one pass over the samples, and their meaning for a student in sentences."""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsld_plugin.analysis.biased import BiasedLabels, BiasedLabelStatistics
from wsld_plugin.analysis.calibration import TEMPERATURES, Calibration, CalibrationStatistics, best_temperature
from wsld_plugin.errors import RunError

REPLICATES = 200  # of the bootstrap
PAIRS = 15  # of confused classes

_KEPT = 10_000  # samples whose logits are kept for the temperature
_SHOWN, _LABELS = 12, 5  # images, and labels of each
_LARGEST_K = 100  # by default
# A margin in nats, of at most 0.693. On 1,200 digits, students of a teacher with 0.65 reached its accuracy, 89%;
# those of one with 0.41 and 28% stayed below 40%: see docs/teacher.md
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
        temperature: of the smallest NLL; None if the NLL is infinite at every temperature.
        temperature_nll, temperature_samples: its NLL, and the number of samples that it was found on.
        undecided: the samples of the largest entropy, the largest first.
    """

    classes: list[str]
    biased: BiasedLabels
    calibration: Calibration
    temperature: float | None
    temperature_nll: float
    temperature_samples: int
    undecided: list[Undecided]

    @property
    def temperature_at_end(self) -> bool:
        """Whether the temperature is an end of the search range, so that there is no best one."""
        return self.temperature is not None and any(
            math.isclose(self.temperature, end, rel_tol=1e-6) for end in TEMPERATURES)


def measure(batches: Iterable[tuple[Tensor, Tensor, Sequence[int]]], classes: Sequence[str], num_samples: int,
            max_k: int | None = None) -> Findings:
    """Measure soft labels in one pass.

    Args:
        batches: logits (n, C), labels (n,) and n indices in the data set, batch after batch.
        classes, num_samples: names of the C classes, and the number of samples of all batches.
        max_k: the largest k; None: C, but at most 100.

    Raises:
        ConfigError: ``max_k``. RunError: logits that cannot be measured, with their place; samples of one class.
    """
    count = len(classes)
    biased = BiasedLabelStatistics(count, min(count, _LARGEST_K) if max_k is None else max_k, bootstrap=REPLICATES)
    calibration = CalibrationStatistics(count)
    every, place = max(math.ceil(num_samples / _KEPT), 1), 0
    kept: list[tuple[Tensor, Tensor]] = []
    undecided: list[Undecided] = []
    for logits, target, indices in batches:
        logits, target = logits.detach(), target.to(logits.device)
        try:
            biased.update(logits, target, indices)
            calibration.update(logits, target)
        except ValueError as error:
            raise RunError(f'soft labels of the {len(logits)} images from {indices[0]} on: {error}') from error
        rows = slice(-place % every, None, every)
        kept.append((logits[rows].cpu(), target[rows].cpu()))
        probs = logits.double().softmax(1)
        entropy, top = torch.special.entr(probs).sum(1), probs.topk(min(_LABELS, count))
        undecided += [Undecided(indices[row], int(target[row]), float(entropy[row]),
                                list(zip(top.indices[row].tolist(), top.values[row].tolist(), strict=True)))
                      for row in entropy.topk(min(_SHOWN, len(entropy))).indices.tolist()]
        undecided = sorted(undecided, key=lambda sample: (-sample.entropy, sample.index))[:_SHOWN]
        place += len(logits)
    chosen, labels = (torch.cat(parts) for parts in zip(*kept, strict=True))
    never = chosen.gather(1, labels[:, None]).isinf().any()
    temperature, nll = (None, math.inf) if never else best_temperature(chosen, labels)
    try:
        found = biased.result()
    except ValueError as error:
        raise RunError(f'{error} Use images of more classes: another split, or no --max-samples.') from error
    return Findings(list(classes), found, calibration.result(), temperature, nll, len(chosen), undecided)


def as_json(findings: Findings) -> dict[str, Any]:
    """The findings as plain lists and numbers; NaN is None, infinite numbers are ``'inf'`` or ``'-inf'``."""
    biased, calibration, names = findings.biased, findings.calibration, findings.classes

    def named(pair: NamedTuple) -> dict[str, Any]:  # its first two fields are classes
        return {name: names[value] if place < 2 else value
                for place, (name, value) in enumerate(pair._asdict().items())}
    return _plain(dict(
        {name: getattr(calibration, name) for name in ('num_samples', 'accuracy', 'nll', 'brier', 'ece', 'entropy')},
        **{name: getattr(findings, name) for name in ('temperature', 'temperature_nll', 'temperature_samples',
                                                      'temperature_at_end')},
        num_classes=len(names), best_k=biased.best_k,
        k=[dict(k=k + 1, unreliability=biased.unreliability[k], ambiguity=biased.ambiguity[k],
                ambiguous_class=names[biased.ambiguous_class[k]], margin=biased.margin[k],
                companion=named(biased.companions[k]) if biased.companions else None,
                intervals={name: ends[:, k] for name, ends in biased.intervals.items()})
           for k in range(len(biased.margin))],
        reliability=[dict(zip(('samples', 'confidence', 'accuracy'), row, strict=True)) for row in calibration.bins],
        entropy_counts=calibration.entropy_counts,
        classes=[dict(zip(('name', 'samples', 'accuracy', 'nll', 'entropy', 'label_prob'), (name, *row), strict=True))
                 for name, row in zip(names, calibration.by_class, strict=True)],
        confused=[named(pair) for pair in calibration.most_confused(PAIRS)],
        undecided=[dict(index=each.index, label=names[each.label], entropy=each.entropy,
                        top=[dict(name=names[c], probability=p) for c, p in each.top])
                   for each in findings.undecided]))


def verdict(findings: Findings, made_from_labels: bool = False) -> str:
    """A sentence on whether a student can learn the right classes from the soft labels alone, by Δ + γ < 1.

    ``made_from_labels``: the soft labels are computed from the labels alone, as those of a `VirtualTeacher`.
    """
    if made_from_labels:
        return ('For a student these soft labels are label smoothing: they are computed from the labels and contain '
                'no information about an image.')
    biased = findings.biased
    k, expect_not = biased.best_k, 'Do not expect a student to find the right classes from these soft labels alone'
    if k is None:
        return f'{expect_not}: for no k is Δ + γ below 1.'
    wrong, share, margin = (float(each[k - 1]) for each in (biased.unreliability, biased.ambiguity, biased.margin))
    misses, chosen = (('first choice is wrong', 'chosen') if k == 1 else
                      (f'{k} largest miss the right class', 'among them'))
    which = (f'its {misses} for Δ = {wrong:.1%} of the images, and no class is {chosen} for more than '
             f'γ = {share:.1%} of the images of others')
    # The best k is chosen on the same images: of 60 uninformed teachers with ten classes and 60 images, 18% passed by
    # the interval itself, none by its percentiles.
    low, high = biased.intervals['margin'][:, k - 1]
    if min(low, 2 * margin - high) <= 0:
        return f'{expect_not}: that Δ + γ is below 1 may be chance ({which}).'
    how, slowly = (('can be expected to find', '') if margin >= _CLEAR else
                   ('can still find', ', but needs many images, because they mislead often'))
    return f'A student {how} the right classes from these soft labels alone{slowly}: {which}.'


def notes(findings: Findings, made_from_labels: bool = False) -> list[str]:
    """Further remarks, the most important first."""
    if made_from_labels:
        return []
    calibration, classes, found = findings.calibration, findings.classes, []
    k = findings.biased.best_k
    if k is not None and findings.biased.companions:
        # a wrong class that is among the k largest at least as often as the right one
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


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return None if math.isnan(value) else str(float(value))
    return value.item() if isinstance(value, np.generic) else value
