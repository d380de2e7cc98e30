"""What a ``type='…'`` of a config means: mmengine's registries, and import paths."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import mmengine.registry
import mmengine.runner  # registers mmengine's own parts
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

from wsld_plugin.errors import nearest

from .paths import RENAMED


class Found(NamedTuple):
    """Something that can be built, and the kind of registry that it stands in: ``'model'``, ``'hook'``, …"""

    kind: str
    target: Callable[..., Any]


def find_type(name: str, scope: str, suffix: str = '') -> list[Found]:
    """Everything that mmengine may build for ``type=name`` under the default scope ``scope``.

    Which registry a dict belongs to depends on who builds it, so all of them are searched. ``suffix`` is
    what the builder appends to the name: MMRazor's recorders are written without their ``Recorder``.
    """
    found = []
    for registry in _registries(scope):
        target = _get(registry, name + suffix)
        if callable(target):
            found.append(Found(registry.root.name, target))
    return found


def unknown_type(name: str, scope: str, suffix: str = '') -> str:
    """Why ``type=name`` cannot be built under ``scope``, with the nearest name that can."""
    prefix, _, rest = name.partition('.')
    if not rest:
        elsewhere = [other for other in _scopes() if name + suffix in _names(other)]
        why = unknown_scope(scope)
        if why:
            return f'is looked for in the scope {scope!r}, but {why}'
        hint = f' It is registered in {elsewhere[0]!r}: write {elsewhere[0] + "." + name!r}.' if elsewhere \
            else _guess(_nearest_here_or_ours(name, _without(suffix, _names(scope, inherited=True))))
        return (f'is not registered in the scope {scope!r}.'
                + (hint or " If it is your own, list its module in custom_imports=dict(imports=['…'])."))
    if '.' not in rest and prefix in _scopes():
        guess = nearest(rest, _without(suffix, _names(prefix)))
        return f'is not registered in the scope {prefix!r}.' + _guess(guess and f'{prefix}.{guess}')
    if prefix.isidentifier() and '.' not in rest and find_spec(prefix) is None:
        guess = RENAMED.get(prefix) or nearest(prefix, _scopes())
        return f'names a package {prefix!r} that is not installed.' + _guess(guess and f'{guess}.{rest}')
    return 'cannot be imported.' + _guess(_nearest_import(name))


def _nearest_here_or_ours(name: str, here: set[str]) -> str | None:
    """The nearest of the names ``here``, or, where nearer, one of this project's with its scope."""
    ours = {name: f'wsld_plugin.{name}' for name in _names('wsld_plugin')}
    guess = nearest(name, here | set(ours))
    return guess if guess in here else ours.get(guess or '')


def unknown_scope(scope: str) -> str | None:
    """Why ``scope`` holds no registries; None where it does."""
    if scope in _scopes() or _children(scope):
        return None
    guess = RENAMED.get(scope) or nearest(scope, _scopes())
    return f'no package of that name registers anything.{_guess(guess)}'


def _get(registry: Registry, name: str) -> Any:
    """What ``registry`` holds under ``name``, or its parents; None where there is nothing."""
    registry.import_from_location()
    if '.' not in name:  # mmengine would go on and import a module of that name
        holders = (node for node in _ancestry(registry) if name in node.module_dict)
        return next((node.module_dict[name] for node in holders), None)
    if not name.partition('.')[0].isidentifier():
        return None
    try:
        return registry.get(name)
    except RuntimeError:  # mmengine's word for a dotted name that leads nowhere
        return None


def _registries(scope: str) -> list[Registry]:
    """Where mmengine would start to search under ``scope``: the scope's own registry, else mmengine's."""
    own = _children(scope)
    covered = {registry.root for registry in own}
    return own + [root for root in _roots() if root not in covered]


def _children(scope: str) -> list[Registry]:
    module = _registry_module(scope)
    roots = _roots() + [value for value in vars(module).values()
                        if isinstance(value, Registry) and value.parent is None] if module else _roots()
    return [node for root in dict.fromkeys(roots) for node in _tree(root) if node.scope == scope]


def _tree(registry: Registry) -> Iterator[Registry]:
    yield registry
    for child in registry.children.values():
        yield from _tree(child)


def _ancestry(registry: Registry) -> Iterator[Registry]:
    node: Registry | None = registry
    while node is not None:
        yield node
        node = node.parent


def _roots() -> list[Registry]:
    return [value for value in vars(mmengine.registry).values() if isinstance(value, Registry)]


@cache
def _registry_module(scope: str) -> ModuleType | None:
    try:
        return import_module(f'{scope}.registry')
    except ModuleNotFoundError:
        return None


def _scopes() -> list[str]:
    """Scopes of what is installed or registered."""
    installed = [name for name in MODULE2PACKAGE if find_spec(name)]
    return list(dict.fromkeys(installed + [node.scope for root in _roots() for node in _tree(root)]))


def _names(scope: str, inherited: bool = False) -> set[str]:
    nodes = [node for registry in _registries(scope) for node in _ancestry(registry)] if inherited \
        else _children(scope)
    return {name for node in nodes for name in node.module_dict}


def _without(suffix: str, names: set[str]) -> set[str]:
    """The names as they are written where the builder appends ``suffix``."""
    return {name.removesuffix(suffix) for name in names if name.endswith(suffix)}


def _nearest_import(name: str) -> str | None:
    """The import path most like ``name`` among the members of the deepest module of it that exists."""
    parts = name.split('.')
    for end in range(len(parts) - 1, 0, -1):
        module = '.'.join(parts[:end])
        try:
            members = dir(import_module(module))
        except (ImportError, TypeError, ValueError):
            continue
        guess = nearest(parts[end], members)
        return guess and '.'.join([module, guess, *parts[end + 1:]])
    return None


def _guess(name: str | None) -> str:
    return f' Did you mean {name!r}?' if name else ''
