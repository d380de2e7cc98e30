"""Values that are merged into a config from outside: do they change anything that is read?"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .walk import KeyPath, Visit, dotted, short, slip


def unread(overrides: Mapping[str, Any], base: Any, visits: Mapping[KeyPath, Visit], path: KeyPath = (),
           ) -> Iterator[str]:
    """Sentences about overrides that nothing would read.

    Args:
        overrides: nested values, as they were given.
        base: what they were merged into, as it was before.
        visits: the dicts of the merged config by their paths.
        path: where in the config ``base`` stands.

    A key that ``base`` has is read. A new one is where the reader of the dict takes it; where that cannot
    be told, it is taken to be meant unless it is a slip from one that ``base`` has.
    """
    if isinstance(base, list):
        base = {str(index): item for index, item in enumerate(base)}
    for key, value in overrides.items():
        if key == '_delete_':
            continue
        if key not in base:
            visit, guess = visits.get(path), slip(str(key), map(str, base))
            if visit is not None and not visit.takes(key):
                yield visit.unknown(key, value)
            elif guess and (visit is None or key not in visit.expected.keys):
                yield f'{dotted(path, str(key))}={short(value)}: there is no such key. Did you mean {guess!r}?'
        elif _merges(value, base[key]):
            yield from unread(value, base[key], visits, (*path, str(key)))


def _merges(value: Any, base: Any) -> bool:
    """Whether mmengine merges ``value`` into ``base`` instead of putting it in its place."""
    return isinstance(value, Mapping) and isinstance(base, (Mapping, list)) and not value.get('_delete_')
