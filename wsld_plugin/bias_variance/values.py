"""Values of a plan: of which type and in which range they are."""
from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from wsld_plugin.errors import ConfigError

from .images import FEWEST


def check_plan(where: str, plan: Mapping[str, Any]) -> None:
    """Raise ConfigError for a value of a plan that is of another type or out of its range.

    Args:
        where: the plan's file.
        plan: with ``methods`` and ``parts``.
    """
    methods = plan['methods']
    if not isinstance(methods, (list, tuple)) or not methods or not all(isinstance(m, Mapping) for m in methods):
        raise ConfigError(f"{where}: methods={methods!r}, expected a list of one or more "
                          "dict(name='KD', config='<path>').")
    _check_text(f'{where}: title', plan.get('title', 'none'))
    _check_options(f'{where}: options', plan.get('options', {}))
    for key, lowest in (('parts', 2), ('models', 2), ('teachers', 1), ('size', FEWEST), ('every', 1)):
        value = plan.get(key, lowest)
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= lowest
        if not whole and not (value is None and key in ('size', 'every')):
            raise ConfigError(f'{where}: {key}={value!r}, expected a whole number from {lowest} up.')


def check_method(where: str, method: Mapping[str, Any]) -> None:
    """Raise ConfigError for a value of a method, with ``name`` and ``config``, that is of another type or range."""
    _check_text(f'{where}: name', method['name'])
    _check_text(f'{where}: config', method['config'])
    _check_options(f'{where}: options', method.get('options', {}))
    tau = method.get('tau')
    number = isinstance(tau, (int, float)) and not isinstance(tau, bool)
    if tau is not None and not (number and 0 < tau < inf):
        raise ConfigError(f'{where}: tau={tau!r}, expected a temperature: a number above 0, or None.')


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigError(f'{name}={value!r}, expected a text.')


def _check_options(name: str, value: Any) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{name}={value!r}, expected a dict of dotted keys, such as "
                          "{'train_cfg.max_epochs': 100}.")
