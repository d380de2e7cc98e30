"""Which keyword arguments a class or a function takes."""
from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Keywords(NamedTuple):
    """Keyword arguments: the names that are known, and whether others are taken too."""

    names: frozenset[str]
    others: bool


def accepted_keywords(target: Callable[..., Any]) -> Keywords:
    """The keyword arguments that ``target`` takes.

    A constructor that hands its ``**kwargs`` on to the next ``__init__`` of the method resolution order
    takes what that one takes, and what it reads from ``kwargs`` itself. One that uses them otherwise, or
    whose source cannot be read, takes any other name.

    >>> accepted_keywords(nn.ReLU)
    Keywords(names=frozenset({'inplace'}), others=False)
    """
    is_class = isinstance(target, type)
    names: set[str] = set()
    for function in _constructors(target) if is_class else [target]:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # written in C
            return Keywords(frozenset(names), others=True)
        names.update(p.name for p in parameters[int(is_class):] if p.kind in _NAMED)  # without self
        rest = next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD), None)
        if rest is None:
            return Keywords(frozenset(names), others=False)
        used = _keywords_read(function, rest)
        if used is None:
            return Keywords(frozenset(names), others=True)
        names |= used
    return Keywords(frozenset(names), others=not is_class)


def required_keywords(target: Callable[..., Any]) -> frozenset[str]:
    """The keyword arguments without which ``target`` cannot be called.

    >>> sorted(required_keywords(nn.Linear))
    ['in_features', 'out_features']
    """
    parameters = inspect.signature(target).parameters.values()
    return frozenset(p.name for p in parameters if p.kind in _NAMED and p.default is p.empty)


def _constructors(cls: Any) -> list[Callable[..., None]]:
    """The ``__init__`` of ``cls`` and those that its ``super()`` calls reach, up to PyTorch's own."""
    found = []
    for base in inspect.getmro(cls):
        if base in (nn.Module, object):  # nn.Module's signature says **kwargs, yet it refuses them
            break
        if '__init__' in vars(base):
            found.append(vars(base)['__init__'])
    return found


def _keywords_read(function: Callable[..., Any], rest: str) -> set[str] | None:
    """Names that ``function`` takes out of its ``**rest`` before it hands it on; None where it does not."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    handed_on = False
    read: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == '__init__':
                handed_on |= any(k.arg is None and _is_name(k.value, rest) for k in node.keywords)
            elif node.func.attr in ('pop', 'get', 'setdefault') and _is_name(node.func.value, rest):
                read |= _string(node.args[0]) if node.args else set()
        elif isinstance(node, ast.Subscript) and _is_name(node.value, rest):
            read |= _string(node.slice)
    return read if handed_on else None


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _string(node: ast.AST) -> set[str]:
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()
