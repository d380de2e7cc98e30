"""Validation of a whole config before any work starts: registered types, keys that are read, files that exist."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine import runner
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.utils import import_modules_from_strings
from mmengine.utils.dl_utils import set_multi_processing
from mmengine.visualization import Visualizer
from torch.utils.data import DataLoader

from wsld_plugin.errors import ConfigError, check_integer, check_number, did_you_mean, short

from .kinds import KeyPath, dicts, matching
from .types import NAMED, Found, accepted_keywords, find_type, runner_keys, unknown_scope, unknown_type

_DEFAULT_HOOKS = {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint', 'visualization'}
_DISTILLER_PARTS = {'connectors', 'distill_losses', 'student_recorders', 'teacher_recorders'}
_PREPROCESSORS = ('mmpretrain.ClsDataPreprocessor', 'mmpretrain.SelfSupDataPreprocessor', 'ImgDataPreprocessor')
_RUN_WRAPPERS = ('wsld_plugin.KeyedDataset', 'wsld_plugin.ResidentDataset', 'wsld_plugin.KeyedSampler')
_TYPED = {'dataset', 'sampler', 'backbone', 'neck', 'head', 'optimizer'}  # built from their type
# What MMRazor appends to a type before it looks it up.
_SUFFIXES = {'student_recorders': 'Recorder', 'teacher_recorders': 'Recorder', 'distill_deliveries': 'Delivery'}
# Keys that the builder of a dict removes before the constructor is called: of every dict, ...
_RESERVED = {'type', '_scope_', '_delete_'}
# ... by the kind of registry, ...
_REMOVED = {'hook': {'priority'}, 'parameter scheduler': {'convert_to_iter_based'},
            'optim_wrapper': {'constructor', 'paramwise_cfg'}, 'weight initializer': {'override'},
            'model': {'_return_architecture_'}}
# ... and by the key of the dict.
_REMOVED_UNDER = {'norm_cfg': {'requires_grad'}, 'policies': {'magnitude_key', 'magnitude_range'},
                  'vision_encoder': {'pretrained'}, 'channel_unit_cfg': {'default_args', 'units'}}
# Kinds of registries whose builders add no argument: a required argument must be in the config.
_BUILT_ALONE = {'model', 'dataset', 'transform', 'hook'}


class Reader(NamedTuple):
    """What reads a dict: its name, the keys that it knows, whether others are allowed, and the required ones."""

    name: str = ''
    keys: frozenset[str] = frozenset()
    others: bool = True
    required: frozenset[str] = frozenset()


def check_config(cfg: Config) -> None:
    """Raise ConfigError, which lists every problem, if a config names what does not exist or sets what nothing reads.

    The config is whole, as :func:`wsld_plugin.config.load.load_config` returns it. Types are looked up where mmengine
    looks. Keys are compared with the signature of what is built; where it has ``**kwargs``, only a near miss of a
    known key is an error. Missing arguments are reported for the parts of this package. Other variables at the top
    level are allowed, unless nothing uses the value and the name is a near miss of a key that the Runner reads.
    """
    parts = cfg.to_dict()  # with the classes of new-style configs as import paths
    problems = list(dict.fromkeys(_problems(parts, parts.get('default_scope') or 'mmengine')))
    loader = parts.get('train_dataloader') or {}
    for key in ('dataset', 'sampler'):  # a user writes the part that a run wraps
        if str((loader.get(key) or {}).get('type')) in _RUN_WRAPPERS:
            problems = [problem.replace(f'train_dataloader.{key}.{key}', f'train_dataloader.{key}', 1)
                        for problem in problems]
    if problems:
        count = f'{len(problems)} problem' + 's' * (len(problems) > 1)
        if any(' takes no ' in problem and 'Did you mean' not in problem for problem in problems):
            problems.append('A dict that is merged into another keeps the keys of both; _delete_=True in it replaces '
                            'the other.')
        raise ConfigError('\n  '.join([f'{cfg.filename or "the config"} has {count}:', *problems]))


def check_data(cfg: Config) -> None:
    """Raise ConfigError unless the local data that the loaders in use name exist.

    Checked are ``data_root`` and, in it, ``data_prefix`` and ``ann_file``; the data sets check what is inside. The
    message names the data set, the missing folder or file, and the nearest name beside it.
    """
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if loader is None or cfg.get(f'{split}_cfg') is None:
            continue
        for where, dataset, _ in dicts(loader, (f'{split}_dataloader',)):
            root, prefix = dataset.get('data_root'), dataset.get('data_prefix')
            if not isinstance(root, str) or not root or '://' in root:
                continue
            inside = prefix.values() if isinstance(prefix, Mapping) else [prefix]
            for name in ('', *inside, dataset.get('ann_file')):
                path = Path(root).expanduser() / (name or '')
                missing = next((each for each in (*reversed(path.parents), path) if not each.exists()), None)
                if missing is not None:
                    raise ConfigError(f'{_dotted(where)} needs {path}, but {missing} does not exist.'
                                      f'{_beside(missing)} Set {_dotted(where, "data_root")} to the folder of the '
                                      'data; docs/data.md describes how to get them.')


def check_teacher(cfg: Config) -> None:
    """Raise ConfigError if a checkpoint in the model, such as a teacher's, is a local file that does not exist.

    The message names the nearest file, and the command that trains the teacher if a config has the folder's name.
    """
    for path, part, _ in dicts(cfg.model, ('model',)):
        for key in ('teacher_ckpt', 'checkpoint'):
            file = Path(name).expanduser() if isinstance(name := part.get(key), str) and '://' not in name else None
            if file is not None and not file.is_file():
                why = (' is a folder, expected a checkpoint. Name a file in it.' if file.is_dir() else
                       f': no such file.{_beside(file)} {_source(cfg, file)}')
                raise ConfigError(f'{_dotted(path, key)}={name!r}{why}')


def _beside(path: Path) -> str:
    return did_you_mean(path.name, os.listdir(path.parent) if path.parent.is_dir() else [])


def _source(cfg: Config, checkpoint: Path) -> str:
    """The command that trains a checkpoint in a folder with the name of a config."""
    folders = Path(cfg.filename).absolute().parents[1] if cfg.filename else Path('configs')
    config = next(folders.glob(f'*/{checkpoint.parent.name}.py'), None) if checkpoint.parent.name else None
    return (f'Train it: python tools/train.py {os.path.relpath(config)}' if config else
            'The docstring of the config names the source of its teacher.')


def _problems(parts: Mapping[str, Any], scope: str) -> Iterator[str]:
    why = unknown_scope(scope)
    if why:
        yield f'default_scope={scope!r}: {why}'
        return
    read = {key: value for key, value in parts.items() if key in runner_keys()}
    for key, value in read.items():
        for path, part, here in dicts(value, (key,), scope):
            yield from _problems_of(part, here, path)
    wrapper = parts.get('optim_wrapper')
    constructor = wrapper.get('constructor') if isinstance(wrapper, Mapping) else None
    for where, name in (('runner_type', parts.get('runner_type')), ('optim_wrapper.constructor', constructor)):
        if isinstance(name, str) and not find_type(name, scope):
            yield f'{where}={name!r} {unknown_type(name, scope)}'
    yield from _out_of_range(parts)
    yield from _misnamed(parts, read)
    yield from _never_begun(parts)


def _out_of_range(parts: Mapping[str, Any]) -> Iterator[str]:
    """Values of options that everyone sets which mmengine or PyTorch accept, but cannot train with."""
    for where, check in _RANGES.items():
        for _, value in matching(parts, where):
            for each in value if isinstance(value, (list, tuple)) else () if value is None else (value,):
                try:
                    check(where, each)
                except ConfigError as error:
                    yield str(error)


def _problems_of(cfg: Mapping[str, Any], scope: str, path: KeyPath) -> Iterator[str]:
    """The problems of a dict itself, not of those inside it."""
    kind, parent = cfg.get('type'), next((key for key in reversed(path) if not key.isdigit()), '')
    reader = Reader()
    if isinstance(kind, str) and parent != 'targets':  # LoRA's targets: a word, nothing is built from it
        suffix = _SUFFIXES.get(path[-2], '') if len(path) > 1 else ''
        found = find_type(kind, scope, suffix)
        if not found:
            yield f'{_dotted(path, "type")}={kind!r} {unknown_type(kind, scope, suffix)}'
        elif path[0] in ('custom_hooks', 'default_hooks') and len(path) == 2 and all(
                each.kind != 'hook' for each in found):
            yield f'{_dotted(path, "type")}={kind!r} is a {found[0].kind}, expected a hook.'
        reader = _reader_of(kind, found, parent) if found else Reader(kind)
    elif callable(kind):
        found = [Found(registry, kind) for registry in _REMOVED]
        reader = _reader_of(getattr(kind, '__name__', repr(kind)), found, parent)
    elif 'type' not in cfg:
        near = _near_miss('type', set(map(str, cfg))) if path[-1] in _TYPED else None
        if near:
            yield f"{_dotted(path)} has no type. Write 'type' for {near!r}."
        reader = _untyped_reader(path, cfg, scope)
    keys = sorted(name for name in reader.keys if not name.startswith('_'))
    for key, value in cfg.items():
        if key in reader.keys | _RESERVED or not isinstance(key, str) \
                or (reader.others and _near_miss(key, reader.keys) is None):
            continue
        choice = f' It takes {", ".join(keys[:12])}{", …" if len(keys) > 12 else ""}.' if keys else ''
        yield (f'{_dotted(path, key)}={short(value)}: {reader.name} takes no {key!r}.'
               + (did_you_mean(key, keys) or choice))
    for key in sorted(reader.required - cfg.keys()):
        yield f'{_dotted(path)}: {reader.name} needs {key!r}, which is not given.'
    if path[-1] in _DISTILLER_PARTS:  # a misspelt name here separates a part from the one that it should change
        typed = [name for name, part in cfg.items() if isinstance(part, Mapping) and 'type' in part]
        for name, part in cfg.items():
            if isinstance(part, Mapping) and 'type' not in part:
                yield f'{_dotted(path, name)} has no type.{did_you_mean(name, typed)}'


def _reader_of(name: str, found: list[Found], parent: str) -> Reader:
    """The reader of a dict from which any of ``found`` may be built."""
    keys, others, required = set(_REMOVED_UNDER.get(parent, ())), False, frozenset[str]()
    for kind, target in found:
        names, more = accepted_keywords(target)
        keys |= names | _REMOVED.get(kind, set())
        others |= more
        if kind in _BUILT_ALONE and str(getattr(target, '__module__', '')).startswith('wsld_plugin.'):
            required |= {each.name for each in signature(target).parameters.values()
                         if each.kind in NAMED and each.default is each.empty}
    return Reader(name, frozenset(keys), others, required)


def _untyped_reader(path: KeyPath, cfg: Mapping[str, Any], scope: str) -> Reader:
    """What mmengine's Runner does with a dict without ``type``."""
    where = _dotted(path)
    if where in _READERS:
        return _READERS[where]
    if where == 'train_cfg':
        return _arguments(runner.EpochBasedTrainLoop if cfg.get('by_epoch', True) else runner.IterBasedTrainLoop,
                          'by_epoch')
    if where == 'optim_wrapper' and 'optimizer' in cfg:  # without it, a dict of several wrappers by their names
        return _arguments(OptimWrapper, 'constructor', 'paramwise_cfg')
    if where in ('val_evaluator', 'test_evaluator') and 'metrics' in cfg:
        return _arguments(Evaluator)
    if path[-1] == 'train_cfg':  # of a classifier
        return Reader('train_cfg', frozenset({'augments', 'probs'}))
    if path[-1] == 'data_preprocessor':
        targets = [found.target for name in _PREPROCESSORS for found in find_type(name, scope)]
        keys = frozenset[str]().union(*(accepted_keywords(target)[0] for target in targets))
        return Reader('the data preprocessor', keys, others=not keys)
    return Reader()


def _misnamed(parts: Mapping[str, Any], read: Mapping[str, Any]) -> Iterator[str]:
    """Names that anyone may choose, but that are a near miss of one with a meaning."""
    for key, value in parts.items():
        guess = None if key in read or callable(value) else _near_miss(key, runner_keys())
        used = bool(value) and isinstance(value, (Mapping, list, tuple)) and any(
            item == value for _, each, _ in dicts(read) for item in (each, *each.values()))
        if guess and not used:
            yield f'{key}: no part of a run reads this key, and nothing uses its value. Did you mean {guess!r}?'
    for key in parts.get('default_hooks') or {}:
        guess = None if key in _DEFAULT_HOOKS else _near_miss(key, _DEFAULT_HOOKS)
        if guess:
            yield f'default_hooks.{key}: there is no default hook of that name. Did you mean {guess!r}?'


def _never_begun(parts: Mapping[str, Any]) -> Iterator[str]:
    """Schedulers that begin after the last epoch, which mmengine rejects only when the data are loaded."""
    last = (parts.get('train_cfg') or {}).get('max_epochs')
    schedulers = parts.get('param_scheduler') or []
    for index, scheduler in enumerate([schedulers] if isinstance(schedulers, Mapping) else schedulers):
        begin = scheduler.get('begin', 0)
        if isinstance(last, int) and isinstance(begin, int) and scheduler.get('by_epoch', True) \
                and 'end' not in scheduler and begin >= last:
            yield (f'param_scheduler.{index} begins at epoch {begin}, but the run has {last}: for a short run set '
                   f'param_scheduler.{index}.begin, and the end of the scheduler before it, below {last}.')


def _near_miss(key: str, known: frozenset[str] | set[str]) -> str | None:
    """The known key that ``key`` is a typing error of; None where it may be meant.

    Stricter than a search for the nearest name, because users may name their own variables freely.

    >>> _near_miss('optim_warpper', {'optim_wrapper'}), _near_miss('train_pipeline', {'train_dataloader'})
    ('optim_wrapper', None)
    """
    near = sorted(name for name in known if name != key and abs(len(name) - len(key)) <= 2)
    swapped = [name for name in near if sorted(name) == sorted(key)]
    return next(iter(swapped or get_close_matches(key, near, n=1, cutoff=0.85)), None)


def _dotted(path: KeyPath, *more: str) -> str:
    return '.'.join((*path, *more))


def _arguments(target: Callable[..., Any], *more: str) -> Reader:
    names, others = accepted_keywords(target)
    return Reader(target.__name__, names | set(more), others)


_COUNT = partial(check_integer, lowest=1)
_POSITIVE = partial(check_number, lowest=0, inclusive=False)
_RANGES: dict[str, Callable[[str, Any], None]] = {
    **dict.fromkeys(('train_cfg.max_epochs', 'train_cfg.max_iters', 'train_cfg.val_interval', 'val_evaluator.topk',
                     'optim_wrapper.accumulative_counts', 'default_hooks.logger.interval',
                     *(f'{split}_dataloader.batch_size' for split in ('train', 'val', 'test'))), _COUNT),
    **dict.fromkeys(('optim_wrapper.clip_grad.max_norm', 'data_preprocessor.std'), _POSITIVE),
    **dict.fromkeys(('optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.weight_decay'),
                    partial(check_number, lowest=0)),
    'optim_wrapper.optimizer.momentum': partial(check_number, lowest=0, highest=1),
    'default_hooks.checkpoint.interval': partial(check_integer, lowest=-1),
}
_READERS = {
    **{f'{split}_dataloader': _arguments(DataLoader, 'num_batch_per_epoch', 'disable_subprocess_warning')
       for split in ('train', 'val', 'test')},
    'val_cfg': _arguments(runner.ValLoop),
    'test_cfg': _arguments(runner.TestLoop),
    'log_processor': _arguments(runner.LogProcessor),
    'visualizer': _arguments(Visualizer),
    'model_wrapper_cfg': _arguments(MMDistributedDataParallel),
    'custom_imports': _arguments(import_modules_from_strings),
    'compile': _arguments(torch.compile),
    'randomness': _arguments(runner.Runner.set_randomness),
    'auto_scale_lr': Reader('the Runner', frozenset({'enable', 'base_batch_size'}), others=False),
    'env_cfg': Reader('the Runner', frozenset({'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}),
                      others=False),
    'optim_wrapper.paramwise_cfg': Reader('the optimizer wrapper constructor', frozenset({
        'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult', 'dwconv_decay_mult',
        'dcn_offset_lr_mult', 'bypass_duplicate', 'layer_decay_rate'})),
    'env_cfg.mp_cfg': _arguments(set_multi_processing),
}
