"""What a ``type='…'`` of a config means, and which keyword arguments it takes."""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import takewhile
from types import ModuleType
from typing import Any, NamedTuple

import mmengine.registry
from mmengine import runner  # registers mmengine's own parts
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string
from torch import nn

from wsld_plugin.errors import nearest

RENAMED = {'mmcls': 'mmpretrain', 'mmselfsup': 'mmpretrain'}  # packages that became part of another one

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# Top-level keys that mmengine's runners and the tools of OpenMMLab read beside the runners' arguments.
_ALSO_READ = {'accelerate', 'runner_type', 'custom_imports', 'tta_model', 'model_wrapper_cfg', 'sync_bn', 'compile',
              'find_unused_parameters', 'activation_checkpointing', 'efficient_conv_bn_eval',
              'init_weights_for_test_or_val'}


class Found(NamedTuple):
    """A class or function that can be built, and the kind of its registry: ``'model'``, ``'hook'``, …"""

    kind: str
    target: Callable[..., Any]


def accepted_keywords(target: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    """The known keyword arguments of a class or function, and whether it may accept others.

    If the ``__init__`` of a class has ``**kwargs``, the arguments of its base classes are added, up to the first one
    without ``**kwargs`` or to ``nn.Module``; others may be accepted too.

    >>> accepted_keywords(nn.ReLU)
    (frozenset({'inplace'}), False)
    """
    names: set[str] = set()
    others = False
    functions: list[Any] = [target]
    if isinstance(target, type):  # up to nn.Module, whose signature has **kwargs, but which rejects them
        bases = takewhile(lambda base: base not in (nn.Module, object), inspect.getmro(target))
        functions = [vars(base)['__init__'] for base in bases if '__init__' in vars(base)]
    for index, function in enumerate(functions):
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # written in C
            return frozenset(names), True
        names.update(each.name for each in parameters[int(isinstance(target, type)):] if each.kind in NAMED)
        open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
        others = open_ended if index == 0 else others
        if not open_ended:
            break
    return frozenset(names), others


@cache
def runner_keys() -> frozenset[str]:
    """The top-level keys of a config that mmengine's runners read."""
    runners = (runner.Runner, runner.FlexibleRunner)
    return frozenset(_ALSO_READ).union(*(accepted_keywords(each)[0] for each in runners)) - {'cfg'}


def find_type(name: str, scope: str, suffix: str = '') -> list[Found]:
    """Everything that mmengine may build for ``type=name`` under the default scope ``scope``, from any registry.

    ``suffix`` is what the builder appends to the name: MMRazor's recorders are written without ``Recorder``.
    """
    name += suffix
    imported = _imported(name)
    found = ((registry.root.name, _registered(registry, name) or imported) for registry in _registries(scope))
    return [Found(kind, target) for kind, target in found if callable(target)]


def unknown_type(name: str, scope: str, suffix: str = '') -> str:
    """Why ``type=name`` cannot be built under ``scope``, with the nearest valid name."""
    prefix, _, rest = name.partition('.')
    if not rest:
        return _unknown_name(name, scope, suffix)
    if '.' not in rest and prefix in _scopes():
        guess = nearest(rest, _names(_children(prefix), suffix))
        return f'is not registered in the scope {prefix!r}.' + _guess(guess and f'{prefix}.{guess}')
    if prefix.isidentifier() and '.' not in rest and find_spec(prefix) is None:
        guess = RENAMED.get(prefix) or nearest(prefix, _scopes())
        return f'names a package {prefix!r} that is not installed.' + _guess(guess and f'{guess}.{rest}')
    return 'cannot be imported.' + _guess(_nearest_import(name))


def unknown_scope(scope: str) -> str | None:
    """Why ``scope`` holds no registries; None where it does."""
    if scope in _scopes() or _children(scope):
        return None
    return 'no package of that name registers anything.' + _guess(RENAMED.get(scope) or nearest(scope, _scopes()))


def _unknown_name(name: str, scope: str, suffix: str) -> str:
    why = unknown_scope(scope)
    if why:
        return f'is looked up in the scope {scope!r}, but {why}'
    missing = f'is not registered in the scope {scope!r}.'
    elsewhere = [other for other in _scopes() if name in _names(_children(other), suffix)]
    if elsewhere:
        return f'{missing} It is registered in {elsewhere[0]!r}: write {elsewhere[0] + "." + name!r}.'
    known = {each: f'wsld_plugin.{each}' for each in _names(_children('wsld_plugin'), suffix)}
    here = [node for registry in _registries(scope) for node in (registry, registry.root)]
    known.update({each: each for each in _names(here, suffix)})
    guess = nearest(name, known)
    return missing + (_guess(known[guess]) if guess else
                      " If it is your own, list its module in custom_imports=dict(imports=['…']).")


def _registered(registry: Registry, name: str) -> Any:
    """The entry ``name`` or ``scope.name`` of a registry, the scope's, or their root; None where there is none."""
    scope, _, entry = name.rpartition('.')
    root = registry.root
    nodes = [registry, root] if not scope else [root] if scope == root.scope else []
    if scope.isidentifier() and _registry_module(scope) and scope in root.children:
        nodes = [root.children[scope], root]
    for node in nodes:
        node.import_from_location()
        if entry in node.module_dict:
            return node.module_dict[entry]
    return None


def _imported(name: str) -> Any:
    """The object of a dotted name, which mmengine imports where no registry has it; None where there is none."""
    if not all(part.isidentifier() for part in name.split('.')) or '.' not in name:
        return None
    try:
        return get_object_from_string(name)
    except Exception:  # whatever the import of that module raises
        return None


def _registries(scope: str) -> list[Registry]:
    """Where mmengine starts to search under ``scope``: the scope's own registries, else its own."""
    own = _children(scope)
    covered = {registry.root for registry in own}
    return own + [root for root in _roots(mmengine.registry) if root not in covered]


def _children(scope: str) -> list[Registry]:
    roots = dict.fromkeys([*_roots(mmengine.registry), *_roots(_registry_module(scope))])
    return [node for root in roots for node in _tree(root) if node.scope == scope]


def _roots(module: ModuleType | None) -> list[Registry]:
    return [value for value in vars(module).values()
            if isinstance(value, Registry) and value.parent is None] if module else []


def _tree(registry: Registry) -> Iterator[Registry]:
    yield registry
    for child in registry.children.values():
        yield from _tree(child)


@cache
def _registry_module(scope: str) -> ModuleType | None:
    try:
        return import_module(f'{scope}.registry')
    except ModuleNotFoundError:
        return None


def _scopes() -> list[str]:
    """Scopes of installed packages and of registries."""
    installed = [name for name in MODULE2PACKAGE if find_spec(name)]
    return list(dict.fromkeys(installed + [node.scope for root in _roots(mmengine.registry) for node in _tree(root)]))


def _names(nodes: Iterable[Registry], suffix: str = '') -> set[str]:
    """The names in registries as they are written where the builder appends ``suffix``."""
    return {name.removesuffix(suffix) for node in nodes for name in node.module_dict if name.endswith(suffix)}


def _nearest_import(name: str) -> str | None:
    """The import path most like ``name``, among the members of the deepest module of it that exists."""
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
