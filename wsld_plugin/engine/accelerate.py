"""The switch ``accelerate``: how a step runs, not what it computes."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from mmengine import runner
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from torch import nn

from wsld_plugin.config.kinds import dicts
from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.datasets.resident import DRAWS_NOTHING, check_supported, without_scope
from wsld_plugin.errors import ConfigError, check_choice, did_you_mean
from wsld_plugin.registry import HOOKS, OPTIM_WRAPPERS
from wsld_plugin.soft_labels.config import cached_teacher
from wsld_plugin.teachers.network import head_classes

DEFAULTS = dict(amp=None, channels_last=True, compile=False, resident=False)
_VALUES: dict[str, tuple[Any, ...]] = dict(amp=(None, 'bf16', 'fp16'), channels_last=(True, False, 'always'),
                                           resident=(True, False))
# From this number of classes on the losses are a measurable part of a step; compiled, KD takes half the time.
MANY_CLASSES = 10_000

_NO_SHARDS = "Remove `strategy`, write runner_type='Runner', and train with DDP (docs/scale.md)."
_NO_GRAPH = "Own CUDA graphs were removed. Write accelerate=dict(compile=dict(mode='reduce-overhead'))."
_NO_DECODING = 'Partial decoding of JPEGs was removed. '
_REMOVED_PARTS = dict(
    cuda_graph=_NO_GRAPH, fold_teacher_bn=None,  # a value that asks for nothing removed is dropped; here any value
    decode=_NO_DECODING + 'Remove `accelerate.decode`: LoadImageFromFile decodes whole files.')
_REMOVED_TYPES = dict(
    CapturedStepHook=_NO_GRAPH,
    LoadRandomResizedCrop=_NO_DECODING + "Write dict(type='LoadImageFromFile') and dict(type='RandomResizedCrop', "
                                         'scale=…).',
    PackPlanes=_NO_DECODING + "Write dict(type='PackInputs').",
    FlexibleRunner=_NO_SHARDS, FSDPStrategy=_NO_SHARDS, DeepSpeedStrategy=_NO_SHARDS)


def accelerate(cfg: Config) -> None:
    """Apply ``accelerate`` to the other parts of a training config, in place.

    =============  =======  =====================================================================================
    part           default  effect
    =============  =======  =====================================================================================
    amp            None     ``'bf16'`` or ``'fp16'``: mixed precision; see :func:`use_amp`
    channels_last  True     weights and images in the memory order N, H, W, C, where it is safe; ``'always'``
    compile        False    True, or a dict of arguments of ``torch.compile``; see :class:`AccelerateHook`
    resident       False    the training set stays in device memory; see :func:`use_resident_data`
    =============  =======  =====================================================================================

    Raises:
        ConfigError: an unknown part or value, or something that was removed.
    """
    _reject_removed(cfg)
    given = {} if cfg.get('accelerate') is None else cfg.accelerate
    if not isinstance(given, Mapping):
        raise ConfigError(f'accelerate={given!r}, expected a dict of parts, such as dict(amp=\'bf16\').')
    parts = dict(DEFAULTS)
    for name, value in given.items():
        if name in _REMOVED_PARTS:
            if value and _REMOVED_PARTS[name]:
                raise ConfigError(f'accelerate.{name}={value!r}: {_REMOVED_PARTS[name]}')
        elif name not in DEFAULTS:
            raise ConfigError(f'accelerate.{name}: unknown part, expected one of {", ".join(DEFAULTS)}.'
                              + did_you_mean(str(name), DEFAULTS))
        else:
            parts[name] = value
    for name, choices in _VALUES.items():
        check_choice(f'accelerate.{name}', parts[name], choices)
    if not isinstance(parts['compile'], (bool, Mapping)):
        raise ConfigError(f'accelerate.compile={parts["compile"]!r}, expected True, False or a dict of arguments of '
                          "torch.compile, such as dict(mode='reduce-overhead').")
    cfg.accelerate = parts
    if parts['amp']:
        use_amp(cfg, str(parts['amp']))
    if parts['resident']:
        use_resident_data(cfg)
    if cfg.get('runner_type', 'Runner') == 'Runner':
        cfg.runner_type = 'wsld_plugin.Runner'
    loop = cfg.get('train_cfg')
    if isinstance(loop, Mapping) and 'type' not in loop and loop.get('by_epoch', True):
        cfg.train_cfg = {'type': 'wsld_plugin.EpochLoop', **{key: loop[key] for key in loop if key != 'by_epoch'}}
    cfg.default_hooks = {'stop': dict(type='wsld_plugin.StopHook'), **(cfg.get('default_hooks') or {}),
                         'accelerate': dict(type='wsld_plugin.AccelerateHook', compile=parts['compile'])}


def _reject_removed(cfg: Config) -> None:
    kinds = {'.'.join((*path, 'type')): part.get('type') for path, part, _ in dicts(cfg.to_dict())}
    for path, kind in {'runner_type': cfg.get('runner_type'), **kinds}.items():
        scope, _, name = str(kind).rpartition('.')
        if name in _REMOVED_TYPES and scope in ('', 'mmengine', 'wsld_plugin'):
            raise ConfigError(f'{path}={kind!r}: {_REMOVED_TYPES[name]}')
    if cfg.get('strategy'):
        raise ConfigError(f'strategy={dict(cfg.strategy)!r}: FSDP and DeepSpeed were removed. {_NO_SHARDS}')


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """An ``OptimWrapper`` whose forward passes run under ``torch.autocast`` in bfloat16, on any device.

    bfloat16 has the exponent range of float32, so no loss scaler is needed. mmengine's ``AmpOptimWrapper`` requires
    a GPU. Weights, optimizer state and the losses of this package stay in float32.

    Args:
        dtype: ``'bfloat16'``; any other raises ConfigError.
        **kwargs: as for ``OptimWrapper`` (``optimizer``, ``accumulative_counts``, ``clip_grad``).
    """

    def __init__(self, dtype: str = 'bfloat16', **kwargs: Any) -> None:
        if dtype != 'bfloat16':
            raise ConfigError(f"AutocastOptimWrapper(dtype={dtype!r}), expected 'bfloat16'; for float16 use "
                              "type='AmpOptimWrapper', dtype='float16', which scales the loss.")
        super().__init__(**kwargs)
        self.dtype = torch.bfloat16

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass under autocast."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, self.dtype):
            yield


def use_amp(cfg: dict[str, Any], dtype: str) -> None:
    """Switch the ``optim_wrapper`` of a whole config to mixed precision, in place.

    Args:
        dtype: ``'bf16'`` on any device, or ``'fp16'`` with a loss scaler on a GPU.

    Raises:
        ConfigError: the optimizer wrapper cannot be replaced, or float16 without a GPU.
    """
    wrapper = cfg['optim_wrapper']
    given = wrapper.get('type', 'OptimWrapper')
    replaceable = ('OptimWrapper', 'AmpOptimWrapper', 'wsld_plugin.AutocastOptimWrapper')
    if given not in replaceable:
        raise ConfigError(f'--amp cannot replace optim_wrapper type {given!r}; it replaces '
                          f'{", ".join(replaceable)}. Set mixed precision in the config instead.')
    if dtype == 'bf16':
        wrapper.pop('loss_scale', None)
        wrapper.update(type='wsld_plugin.AutocastOptimWrapper', dtype='bfloat16')
    elif not torch.cuda.is_available():
        raise ConfigError('--amp fp16 needs a GPU: float16 needs a loss scaler. On a CPU use --amp bf16.')
    else:
        wrapper.update(type='AmpOptimWrapper', dtype='float16')
        wrapper.setdefault('loss_scale', 'dynamic')


@HOOKS.register_module()
class AccelerateHook(Hook):
    """Compile the backbones, and the losses of 10,000 classes and more, before the first step.

    Every part that is compiled or left out is one line of the log.

    Args:
        compile: True, or a dict of arguments of ``torch.compile``: compile the backbones of student and teacher,
            except one with a forward hook inside, such as a recorder's. A machine without a compiler raises
            ConfigError.
    """

    priority = 'LOWEST'

    def __init__(self, compile: bool | Mapping[str, Any] = False) -> None:
        self.compile = compile

    def before_train(self, runner: runner.Runner) -> None:
        """Compile before the first batch is loaded, after all other hooks."""
        if not self.compile:
            return
        check_compiler(next(runner.model.parameters()).device)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for line in compile_model(model, self.compile):
            runner.logger.info(f'accelerate.{line}')


def check_compiler(device: torch.device) -> None:
    """Raise ConfigError, which names what is missing, unless ``torch.compile`` has Triton or a C++ compiler."""
    missing = 'Triton' if device.type == 'cuda' and not find_spec('triton') else ''
    if device.type != 'cuda':
        from torch._inductor import cpp_builder, exc
        try:
            cpp_builder.get_cpp_compiler()
        except exc.InvalidCxxCompiler:
            missing = 'a C++ compiler (g++ or clang++)'
    if missing:
        raise ConfigError(f'accelerate.compile needs {missing}, which this machine does not have. Install it, or set '
                          'accelerate=dict(compile=False).')


def compile_model(model: nn.Module, compile: bool | Mapping[str, Any]) -> list[str]:
    """Compile backbones and losses with the arguments of :class:`AccelerateHook`; return log lines."""
    options = compile if isinstance(compile, Mapping) else {}
    return compile_backbones(model, options) + compile_losses(model, options)


def compile_backbones(model: nn.Module, options: Mapping[str, Any]) -> list[str]:
    """Compile the backbones of a classifier, or of student and teacher (ensemble members too); return log lines."""
    lines = []
    for role, part in (('teacher', getattr(model, 'teacher', None)), ('student', getattr(model, 'student', model))):
        for name, backbone in (part.named_modules() if isinstance(part, nn.Module) else ()):
            if name.split('.')[-1] != 'backbone':
                continue
            hooked = next((inner for inner, module in backbone.named_modules()
                           if inner and (module._forward_hooks or module._forward_pre_hooks)), None)
            if hooked:  # the graph would break there
                lines.append(f"compile: left out for the {role}'s {name}, {hooked!r} in it has a hook.")
            else:
                backbone.compile(**options)
                lines.append(f"compile: the {role}'s {name}.")
    return lines


def compile_losses(model: Any, options: Mapping[str, Any]) -> list[str]:
    """Compile the losses of a distillation with `MANY_CLASSES` or more; return log lines."""
    if not hasattr(model, 'distiller') or (head_classes(model.student) or 0) < MANY_CLASSES:
        return []
    losses = model.distiller.distill_losses
    for loss in losses.values():
        loss.compile(**options)
    return [f'compile: the loss {name}.' for name in losses]


# Settings of worker processes and of copies from them.
_WORKER_SETTINGS = ('persistent_workers', 'prefetch_factor', 'pin_memory', 'pin_memory_device', 'timeout',
                    'multiprocessing_context', 'worker_init_fn', 'in_order', 'disable_subprocess_warning')


def use_resident_data(cfg: Config) -> None:
    """Keep the training set of a whole config in device memory, in place; see `ResidentDataset`.

    Data set, pipeline, order of the samples, batch size and schedule stay. The training loader has no workers.
    Validation is loaded as before. A second call changes nothing.

    Raises:
        ConfigError: no training set; a transform that is not supported on the device; cached soft labels of images
            that were augmented on the CPU.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    wrappers = ('wsld_plugin.KeyedDataset', 'wsld_plugin.ResidentDataset')
    while isinstance(dataset, Mapping) and dataset.get('type') in wrappers:
        dataset = dataset['dataset']
    if not isinstance(dataset, Mapping):
        raise ConfigError(f'resident data: train_dataloader.dataset is {dataset!r}, expected the config of a data '
                          'set.')
    kinds = [part.get('type') if isinstance(part, Mapping) else None for part in dataset.get('pipeline') or ()]
    names = [kind if isinstance(kind, str) else getattr(kind, '__name__', '') for kind in kinds]
    check_supported(names)
    random = {without_scope(name) for name in names} - {*DRAWS_NOTHING}
    if random and cached_teacher(cfg) is not None:
        raise ConfigError('resident data: the soft labels of a CachedTeacher belong to images that were augmented on '
                          'the CPU, and resident data are augmented by other random numbers. Set '
                          'accelerate.resident=False, or use the teacher itself.')
    key_training_set(cfg)
    loader = {key: value for key, value in cfg.train_dataloader.items() if key not in _WORKER_SETTINGS}
    cfg.train_dataloader = {**loader, 'num_workers': 0, 'collate_fn': {'type': 'wsld_plugin.whole_batch'},
                            'dataset': {'type': 'wsld_plugin.ResidentDataset', 'dataset': dataset}}
