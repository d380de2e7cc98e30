"""What the numbers of a report mean for a student, in words."""
from __future__ import annotations

import math

from .findings import Findings

# nats, of at most 0.693. On 1,200 digits students of a teacher with 0.65 came to its 89%, those of one with 0.41 and
# 28% to less than 40%: see docs/teacher.md
_CLEAR = 0.5
_CERTAIN = 0.99


def verdict(findings: Findings, made_from_labels: bool = False) -> str:
    """One sentence that says what the soft labels predict for a student.

    Only what the condition Δ + γ < 1 says is said: whether the right classes can be learned from soft labels alone.

    Args:
        findings: of a teacher.
        made_from_labels: whether it makes its soft labels from the labels alone, as a `VirtualTeacher` does.
    """
    if made_from_labels:
        return ('A student learns from these soft labels what label smoothing teaches: they are made from the labels '
                'and tell nothing about an image.')
    biased = findings.biased
    k, expect_not = biased.best_k, 'Do not expect a student to find the right classes from these soft labels alone'
    if k is None:
        return f'{expect_not}: for no k is Δ + γ below 1.'
    margin, which = float(biased.margin[k - 1]), _which(findings, k)
    if _may_be_chance(findings, k):
        return f'{expect_not}: that Δ + γ is below 1 may be chance ({which}).'
    how = 'can be expected to find' if margin >= _CLEAR else 'can still find'
    slowly = '' if margin >= _CLEAR else ', but needs many images, because they mislead often'
    return f'A student {how} the right classes from these soft labels alone{slowly}: {which}.'


def notes(findings: Findings, made_from_labels: bool = False) -> list[str]:
    """What else a reader should know: one sentence each, the most important first."""
    calibration, classes = findings.calibration, len(findings.classes)
    if made_from_labels:
        return []
    said = []
    k = findings.biased.best_k
    if k is not None and findings.biased.companions:
        said += _companion(findings, k)
    if k is not None and k > 1:
        said.append(f'Its first choice misleads more than its first {k} together: weigh the soft labels low beside '
                    'hard ones, and take a high temperature.')
    if calibration.accuracy >= _CERTAIN and math.exp(calibration.entropy) < 1.05:
        said.append('At temperature 1 its soft labels are almost the labels: only a higher temperature shows what it '
                    'thinks of the other classes.')
    tau = findings.temperature
    if tau is None:
        said.append('Some right classes have probability 0: their NLL is infinite at every temperature.')
    elif not findings.temperature_at_end and not 0.8 <= tau <= 1.25:
        kind = 'over-confident' if tau > 1 else 'less confident than it is right'
        said.append(f'It is {kind}: its probabilities are closest to the truth at a temperature of {tau:.2f}, not 1.')
    empty = sum(row[0] == 0 for row in calibration.by_class)
    if empty:
        said.append(f'{empty} of {classes} classes have no image here, so nothing is known of them.')
    if calibration.num_samples < 10 * classes:
        said.append(f'{calibration.num_samples:,} images are few for {classes} classes: mind the intervals.')
    return said


def _companion(findings: Findings, k: int) -> list[str]:
    """Whether a wrong class comes with a right one at least as often as the right one itself."""
    found, names = findings.biased, findings.classes
    label, wrong, share = found.companions[k - 1]
    if share < 1 - found.unreliability_by_class[label, k - 1] - 1e-9:
        return []
    images = findings.calibration.by_class[label, 0]
    return [f'Of the {images:,.0f} images of {names[label]}, {names[wrong]} is among the {k} largest at least as '
            f'often as {names[label]}: from these soft labels alone a student may not learn to tell them apart, '
            'whatever Δ and γ say.']


def _may_be_chance(findings: Findings, k: int) -> bool:
    """Whether the interval of the margin reaches 0, as it is or as percentiles.

    The best of several k is chosen on the same images: of uninformed teachers with ten classes and 60 images 18%
    would pass by the interval itself, none by its percentiles (60 drawn).
    """
    found = findings.biased
    if not found.intervals:
        return False
    low, high = found.intervals['margin'][:, k - 1]
    return min(low, 2 * found.margin[k - 1] - high) <= 0


def _which(findings: Findings, k: int) -> str:
    wrong, share = findings.biased.unreliability[k - 1], findings.biased.ambiguity[k - 1]
    if k == 1:
        return (f'its first choice is wrong for Δ = {wrong:.1%} of the images, and no class is chosen for more than '
                f'γ = {share:.1%} of the images of others')
    return (f'its {k} largest miss the right class for Δ = {wrong:.1%} of the images, and no class is among them for '
            f'more than γ = {share:.1%} of the images of others')
