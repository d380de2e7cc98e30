"""A walk over the dicts of a config that mmengine builds, and over the keys that each may have."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from wsld_plugin.errors import did_you_mean

from .lookup import Found, find_type, unknown_type
from .signature import accepted_keywords, required_keywords

KeyPath = tuple[str, ...]

# What MMRazor appends to a type before it looks it up.
_SUFFIXES = {'student_recorders': 'Recorder', 'teacher_recorders': 'Recorder',
             'distill_deliveries': 'Delivery'}
# A `type` here chooses one of the reader's own words; nothing is built from it: LoRA's targets.
_OWN_WORDS = {'targets'}
# Keys that whoever builds a dict takes out before the constructor sees it: of every dict, ...
_RESERVED = frozenset({'type', '_scope_', '_delete_'})
# ... by the kind of registry, ...
_TAKEN_OUT = {'hook': {'priority'}, 'parameter scheduler': {'convert_to_iter_based'},
              'optim_wrapper': {'constructor', 'paramwise_cfg'}, 'weight initializer': {'override'},
              'model': {'_return_architecture_'}}
# ... and by the key under which the dict stands.
_TAKEN_OUT_UNDER = {'norm_cfg': {'requires_grad'}, 'policies': {'magnitude_key', 'magnitude_range'},
                    'vision_encoder': {'pretrained'}, 'channel_unit_cfg': {'default_args', 'units'}}
# Kinds of registries whose builders add no argument: what one of ours requires must stand in the config.
_BUILT_ALONE = {'model', 'dataset', 'transform', 'hook'}


@dataclass(frozen=True)
class Expected:
    """Who reads a dict, the keys that it knows, whether the dict may have others, and those that it must have."""

    reader: str = ''
    keys: frozenset[str] = frozenset()
    others: bool = True
    needed: frozenset[str] = frozenset()


Untyped = Callable[[KeyPath, Mapping[str, Any], str], Expected | None]


@dataclass(frozen=True)
class Visit:
    """One dict of a config, and what is expected of it."""

    path: KeyPath
    cfg: Mapping[str, Any]
    expected: Expected
    problem: str | None = None

    def problems(self) -> Iterator[str]:
        """What is wrong with the dict itself, one sentence each; not with those inside it."""
        if self.problem:
            yield self.problem
        yield from (self.unknown(key, value) for key, value in self.cfg.items() if not self.takes(key))
        yield from (f'{dotted(self.path)}: {self.expected.reader} needs {key!r}, which is not given.'
                    for key in sorted(self.expected.needed - self.cfg.keys()))

    def takes(self, key: str) -> bool:
        """Whether ``key`` means something to the reader of the dict, as far as that can be told."""
        if key in self.expected.keys | _RESERVED or not isinstance(key, str):
            return True
        return self.expected.others and slip(key, self.expected.keys) is None

    def unknown(self, key: str, value: Any) -> str:
        """The sentence about a key that the reader does not know."""
        keys = sorted(name for name in self.expected.keys if not name.startswith('_'))
        choice = f' It takes {", ".join(keys[:12])}{", …" if len(keys) > 12 else ""}.' if keys else ''
        return (f'{dotted(self.path, key)}={short(value)}: {self.expected.reader} takes no {key!r}.'
                f'{did_you_mean(key, keys) or choice}')


def slip(key: str, known: Iterable[str]) -> str | None:
    """The known key that ``key`` is a slip of the keyboard from; None where it may well be meant.

    Stricter than a search for the nearest name: people may call their own variables what they like.

    >>> slip('optim_warpper', ['optim_wrapper']), slip('train_pipeline', ['train_dataloader'])
    ('optim_wrapper', None)
    """
    known = sorted(name for name in known if name != key and abs(len(name) - len(key)) <= 2)
    swapped = [name for name in known if sorted(name) == sorted(key)]
    return next(iter(swapped or get_close_matches(key, known, n=1, cutoff=0.85)), None)


def walk(value: Any, scope: str, path: KeyPath = (), untyped: Untyped = lambda path, cfg, scope: None,
         ) -> Iterator[Visit]:
    """Visit every dict in ``value``, from outside inwards.

    Args:
        value: a part of a config.
        scope: the default scope there; a ``_scope_`` inside changes it for what lies within.
        path: where in the config ``value`` stands.
        untyped: what is expected of a dict without ``type``, given its path, itself and the scope; None
            where nothing is known.
    """
    if isinstance(value, Mapping):
        scope = value.get('_scope_') or scope
        yield _visit(value, scope, path, untyped)
        for key, item in value.items():
            yield from walk(item, scope, (*path, str(key)), untyped)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from walk(item, scope, (*path, str(index)), untyped)


def _visit(cfg: Mapping[str, Any], scope: str, path: KeyPath, untyped: Untyped) -> Visit:
    kind = cfg.get('type')
    parent = _parent(path)
    if isinstance(kind, str) and parent not in _OWN_WORDS:
        suffix = _SUFFIXES.get(path[-2], '') if len(path) > 1 else ''
        found = find_type(kind, scope, suffix)
        if found:
            return Visit(path, cfg, _expected(kind, found, parent))
        problem = f'{dotted(path, "type")}={kind!r} {unknown_type(kind, scope, suffix)}'
        return Visit(path, cfg, Expected(kind), problem)
    if callable(kind):
        found = [Found(registry, kind) for registry in _TAKEN_OUT]
        return Visit(path, cfg, _expected(getattr(kind, '__name__', repr(kind)), found, parent))
    return Visit(path, cfg, untyped(path, cfg, scope) or Expected())


def _parent(path: KeyPath) -> str:
    """The last key of a path that is no index of a list."""
    return next((key for key in reversed(path) if not key.isdigit()), '')


def _expected(reader: str, found: Iterable[Found], parent: str) -> Expected:
    """What any of the things that may be built would take."""
    keys, others, needed = set(_TAKEN_OUT_UNDER.get(parent, ())), False, frozenset[str]()
    for kind, target in found:
        accepted = accepted_keywords(target)
        keys |= accepted.names | _TAKEN_OUT.get(kind, set())
        others |= accepted.others
        if kind in _BUILT_ALONE and str(getattr(target, '__module__', '')).startswith('wsld_plugin.'):
            needed |= required_keywords(target)
    return Expected(reader, frozenset(keys), others, needed)


def dotted(path: Iterable[str], *more: str) -> str:
    """A path as ``--cfg-options`` takes it."""
    return '.'.join((*path, *more))


def short(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:59]}…'
