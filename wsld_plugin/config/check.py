"""Whether a whole training config means what it says: types that are registered, keys that are read."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

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

from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.models.build import resolve_model_cfg

from .lookup import find_type, unknown_scope, unknown_type
from .signature import accepted_keywords
from .walk import Expected, KeyPath, Visit, dotted, slip, walk

# Read from the config by mmengine's runners and by the tools of OpenMMLab, beside the runners' own arguments.
_ALSO_READ = {'accelerate', 'runner_type', 'custom_imports', 'tta_model', 'model_wrapper_cfg', 'sync_bn', 'compile',
              'find_unused_parameters', 'activation_checkpointing', 'efficient_conv_bn_eval',
              'init_weights_for_test_or_val'}
_DEFAULT_HOOKS = {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint',
                  'visualization'}
_PARAMWISE = {'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult',
              'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate', 'layer_decay_rate'}
_DISTILLER_PARTS = {'connectors', 'distill_losses', 'student_recorders', 'teacher_recorders'}
_PREPROCESSORS = ('mmpretrain.ClsDataPreprocessor', 'mmpretrain.SelfSupDataPreprocessor',
                  'ImgDataPreprocessor')


def check_config(cfg: Config) -> None:
    """Refuse a config of mmengine's Runner that asks for what does not exist.

    Types are looked up where mmengine looks; keys are compared with the signature of what is built, as far
    as ``**kwargs`` can be followed. A model that is named by ``cfg_path`` is resolved and checked too. What is
    *missing* is told for the parts of this project; else it is left to whoever needs it. Variables of the user's own
    at the top level are not looked at unless their name is a slip from one that the runner reads and nothing uses
    their value.

    Raises:
        ConfigError: lists every problem with its dotted path, what was given, and the nearest valid name.
    """
    found, problems = visits(cfg)
    for visit in found.values():
        problems += [problem for problem in visit.problems() if visit.path]
    problems += _misnamed(found)
    problems += _without_type(found)
    problems += _never_begun(cfg)
    if problems:
        problems = list(dict.fromkeys(problems))
        count = f'{len(problems)} problem' + 's' * (len(problems) > 1)
        raise ConfigError('\n  '.join([f'{cfg.filename or "the config"} has {count}:', *problems]))


def visits(cfg: Config) -> tuple[dict[KeyPath, Visit], list[str]]:
    """Every dict of ``cfg`` that a run reads, by its path; what is wrong with its scope and ``cfg_path``."""
    problems: list[str] = []
    parts = cfg.to_dict()  # with the classes of new-style configs as import paths
    scope = parts.get('default_scope') or 'mmengine'
    why = unknown_scope(scope)
    if why:
        return {}, [f'default_scope={scope!r}: {why}']
    found: dict[KeyPath, Visit] = {(): Visit((), parts, Expected('the Runner', runner_keys(), others=False))}
    for key, value in parts.items():
        if key not in runner_keys():
            continue
        whole = with_models(value, (key,), problems)
        found.update({visit.path: visit for visit in walk(whole, scope, (key,), _untyped)})
    for path, name in _named_types(parts):
        if isinstance(name, str) and not find_type(name, scope):
            problems.append(f'{dotted(path)}={name!r} {unknown_type(name, scope)}')
    return found, problems


@cache
def runner_keys() -> frozenset[str]:
    """Top-level keys that have a meaning."""
    runners = (runner.Runner, runner.FlexibleRunner)
    return frozenset(_ALSO_READ).union(*(accepted_keywords(each).names for each in runners)) - {'cfg'}


def with_models(value: Any, path: KeyPath, problems: list[str]) -> Any:
    """A part of a config with the model in place of each ``cfg_path``.

    What cannot be resolved becomes empty, and the reasons are added to ``problems``.
    """
    if isinstance(value, Mapping):
        if isinstance(value.get('cfg_path'), str):
            try:
                return resolve_model_cfg(value, where=dotted(path))
            except ConfigError as error:
                problems += str(error).split('\n')
                return {}
        return {key: with_models(item, (*path, str(key)), problems) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_models(item, (*path, str(index)), problems) for index, item in enumerate(value)]
    return value


def _named_types(parts: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Any]]:
    """Registered names that stand under another key than ``type``."""
    yield ('runner_type',), parts.get('runner_type')
    if isinstance(parts.get('optim_wrapper'), Mapping):
        yield ('optim_wrapper', 'constructor'), parts['optim_wrapper'].get('constructor')


def _misnamed(found: Mapping[KeyPath, Visit]) -> Iterator[str]:
    """Names that anyone may choose, but that are a slip from one with a meaning."""
    if not found:
        return
    parts = found[()].cfg
    values = [visit.cfg for path, visit in found.items() if path]
    for key, value in parts.items():
        guess = None if key in runner_keys() or callable(value) else slip(key, runner_keys())
        if guess and not _is_used(value, values):
            yield (f'{key}: no part of a run reads this key, and nothing uses its value. '
                   f'Did you mean {guess!r}?')
    for key in parts.get('default_hooks') or {}:
        guess = None if key in _DEFAULT_HOOKS else slip(key, _DEFAULT_HOOKS)
        if guess:
            yield f'default_hooks.{key}: there is no default hook of that name. Did you mean {guess!r}?'


def _without_type(found: Mapping[KeyPath, Visit]) -> Iterator[str]:
    """Parts of a distiller that a slip in their name has cut off from the part they were meant to change."""
    for path, visit in found.items():
        if path[-2:-1] and path[-2] in _DISTILLER_PARTS and 'type' not in visit.cfg:
            siblings = found[path[:-1]].cfg
            typed = [name for name, part in siblings.items() if isinstance(part, Mapping) and 'type' in part]
            yield f'{dotted(path)} has no type.{did_you_mean(path[-1], typed)}'


def _never_begun(cfg: Config) -> Iterator[str]:
    """Schedulers that would begin after the last epoch, which mmengine refuses when the data are loaded."""
    last = (cfg.get('train_cfg') or {}).get('max_epochs')
    schedulers = cfg.get('param_scheduler') or []
    for index, scheduler in enumerate([schedulers] if isinstance(schedulers, Mapping) else schedulers):
        begin = scheduler.get('begin', 0)
        if last is not None and scheduler.get('by_epoch', True) and 'end' not in scheduler and begin >= last:
            yield (f'param_scheduler.{index} begins at epoch {begin}, but the run has {last}: for a short run set '
                   f'param_scheduler.{index}.begin, and the end of what comes before it, below {last}.')


def _is_used(value: Any, dicts: list[Mapping[str, Any]]) -> bool:
    """Whether a variable of the user's went into one of the dicts."""
    if not isinstance(value, (Mapping, list, tuple)) or not value:
        return False
    return any(item == value for each in dicts for item in (each, *each.values()))


def _untyped(path: KeyPath, cfg: Mapping[str, Any], scope: str) -> Expected | None:
    """What mmengine's Runner expects of a dict without ``type``."""
    where = dotted(path)
    if where in _READERS:
        return _READERS[where]
    if where == 'train_cfg':
        loop = runner.EpochBasedTrainLoop if cfg.get('by_epoch', True) else runner.IterBasedTrainLoop
        return _arguments(loop, 'by_epoch')
    if where == 'optim_wrapper' and 'optimizer' in cfg:  # without: a dict of several, by their names
        return _arguments(OptimWrapper, 'constructor', 'paramwise_cfg')
    if where in ('val_evaluator', 'test_evaluator') and 'metrics' in cfg:
        return _arguments(Evaluator)
    if path[-1] == 'data_preprocessor':
        targets = [found.target for name in _PREPROCESSORS for found in find_type(name, scope)]
        keys = frozenset[str]().union(*(accepted_keywords(target).names for target in targets))
        return Expected('the data preprocessor', keys, others=not keys)
    return None


def _arguments(target: Callable[..., Any], *more: str) -> Expected:
    keywords = accepted_keywords(target)
    return Expected(target.__name__, keywords.names | set(more), keywords.others)


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
    'auto_scale_lr': Expected('the Runner', frozenset({'enable', 'base_batch_size'}), others=False),
    'env_cfg': Expected('the Runner', frozenset({'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}),
                        others=False),
    'optim_wrapper.paramwise_cfg': Expected('the optimizer wrapper constructor', frozenset(_PARAMWISE)),
    'env_cfg.mp_cfg': _arguments(set_multi_processing),
}
