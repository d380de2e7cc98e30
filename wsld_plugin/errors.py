"""Errors that say what was given, what was expected and what to do."""
from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any


class ConfigError(ValueError):
    """A config asks for something that does not exist or does not fit, or a data file is damaged."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read safely, or does not fit the model it is meant for."""


class NonFiniteLossError(RuntimeError):
    """The loss or a weight became infinite or NaN."""


class WriteError(OSError):
    """A file cannot be written: the disk is full or read-only."""


class Interrupted(Exception):
    """A signal ended the training after a checkpoint was written.

    Args:
        number: of the signal; the exit status is 128 + ``number``, as a shell expects.
        message: what was saved, and how to go on.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


class RunError(RuntimeError):
    """A training run failed, or a step cannot be timed; the message says which and why."""


def short(value: Any) -> str:
    """A value as messages show it, in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:59]}…'


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, compared without regard to case; None when none is close.

    >>> nearest('Resnet', ['ResNet', 'VGG'])
    'ResNet'
    """
    by_lower = {candidate.lower(): candidate for candidate in sorted(known)}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known name, or nothing, to append to an error message.

    >>> did_you_mean('taau', ['tau', 'loss_weight'])
    " Did you mean 'tau'?"
    """
    guess = nearest(name, known)
    return f' Did you mean {guess!r}?' if guess else ''


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise ConfigError unless ``value``, set as ``name``, is one of ``choices``; the message names the nearest."""
    if value in choices:
        return
    hint = ''
    if isinstance(value, str):
        hint = did_you_mean(value, map(str, choices))
    elif isinstance(value, (int, float)) and all(isinstance(choice, (int, float)) for choice in choices):
        hint = f' The nearest is {min(choices, key=lambda choice: abs(choice - value))!r}.'
    raise ConfigError(f'{name}={value!r}, expected one of {", ".join(map(repr, choices))}.{hint}')


def check_integer(name: str, value: Any, lowest: int, highest: float = inf) -> None:
    """Raise ConfigError unless ``value``, set as ``name``, is an integer in [lowest, highest] and no bool."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not lowest <= int(value) <= highest:
        limit = f'of {lowest} or more' if highest == inf else f'from {lowest} to {highest}'
        raise ConfigError(f'{name}={value!r}, expected an integer {limit}.')


def check_number(name: str, value: Any, lowest: float = -inf, highest: float = inf, *,
                 inclusive: bool = True) -> None:
    """Raise ConfigError unless ``value``, set as ``name``, is a finite number between two limits.

    ``inclusive`` allows the limits themselves. True and False are no numbers.
    """
    number = not isinstance(value, bool) and isinstance(value, Real) and isfinite(value)
    if not number or not (lowest <= value <= highest if inclusive else lowest < value < highest):
        left, right = '[]' if inclusive else '()'
        limit = '' if (lowest, highest) == (-inf, inf) else f' in {left}{lowest:g}, {highest:g}{right}'
        raise ConfigError(f'{name}={value!r}, expected a finite number{limit}.')
