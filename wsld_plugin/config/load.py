"""From a config file and the options of a command line to mmengine's Config."""
from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsld_plugin.errors import ConfigError

from .files import read_config
from .walk import short


def load_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """The config at ``path`` with ``options`` merged into it.

    Args:
        path: a config file, or ``'package::path'`` for one that an installed package ships.
        options: dotted keys and their values, as ``--cfg-options`` gives them; an element of a list is
            named by its index. A new key is taken only where something reads it.

    Raises:
        ConfigError: a file, a base or an option that does not exist; the nearest name is shown.
    """
    cfg = read_config(path)
    if options:
        _merge(cfg, options)
    return cfg


def _merge(cfg: Config, options: Mapping[str, Any]) -> None:
    new = {key: value for key, value in options.items() if not _exists(cfg, key)}
    before = copy.deepcopy(cfg)
    cfg.merge_from_dict(copy.deepcopy(dict(options)))
    if not new:
        return
    # Only here: it imports the packages of the models.
    from .check import visits
    from .overrides import unread
    found, problems = visits(cfg)
    problems += unread(_nested(new), before, found)
    if problems:
        raise ConfigError('\n'.join(f'option {problem}' for problem in dict.fromkeys(problems)))


def _exists(cfg: Config, option: str) -> bool:
    """Whether the config has what a dotted option names; ConfigError where it cannot have it."""
    here: Any = cfg
    keys = option.split('.')
    for depth, key in enumerate(keys):
        where = '.'.join(keys[:depth])
        if isinstance(here, (Config, Mapping)):
            if key not in here:
                return False
            here = here[key]
        elif isinstance(here, list):
            if not key.isdigit() or int(key) >= len(here):
                raise ConfigError(f'option {option}: {where} is a list of {len(here)}; expected an index '
                                  f'below that, not {key!r}.')
            here = here[int(key)]
        else:
            raise ConfigError(f'option {option}: {where} is {short(here)}, which has no keys. '
                              f'Set {where} itself.')
    return True


def _nested(options: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for option, value in options.items():
        *parents, last = option.split('.')
        here = nested
        for key in parents:
            here = here.setdefault(key, {})
        here[last] = value
    return nested
