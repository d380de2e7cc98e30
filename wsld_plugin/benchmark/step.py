"""One distillation step in variants: MMRazor's own, this package's from the slowest to the fastest, and hand-written.

All variants have the same networks, weights and batch of random images. The first step's losses of each are compared
with MMRazor's before anything is timed. Data loading, hooks and the learning-rate schedule are not part of a step.
"""
from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, OPTIMIZERS, DefaultScope
from mmengine.runner import set_random_seed
from mmpretrain.structures import DataSample
from torch.nn import functional as F

from wsld_plugin.config.models import build_model, resolve_model_cfg
from wsld_plugin.datasets.keyed import SampleKey
from wsld_plugin.engine.accelerate import compile_model
from wsld_plugin.engine.channels_last import obstacle, use_channels_last
from wsld_plugin.engine.training import training_config
from wsld_plugin.errors import ConfigError, RunError, check_choice
from wsld_plugin.soft_labels import CachedTeacher
from wsld_plugin.soft_labels.config import use_cached_labels
from wsld_plugin.soft_labels.store import Header, SoftLabels, encode, writing
from wsld_plugin.studies.table import aligned_table

from .timing import head_lines, header, paired_ratio, time_in_turns

# Allowed relative difference of the first step's losses: of float32, soft labels in float16 (11 bits), bfloat16 (8)
FLOAT32, FLOAT16, BFLOAT16 = 1e-5, 1e-3, 2e-2

# What is compared, the two variants, and the goal for the median of (seconds of the first / seconds of the second)
GOALS = (('ours / hand-written, float32', 'channels-last', 'hand-written, fp32', '≤ 1.03'),
         ('ours / hand-written, bfloat16', 'bf16', 'hand-written, bf16', '≤ 1.03'),
         ('MMRazor / ours, float32', 'MMRazor', 'channels-last', '≥ 1.3'),
         ('MMRazor / ours, bfloat16', 'MMRazor', 'bf16', '≥ 2.6'),
         ('MMRazor / ours, bfloat16, cached soft labels', 'MMRazor', 'cached, bf16', '≥ 4.0'),
         ('cached soft labels / student alone, bfloat16', 'cached, bf16', 'student alone, bf16', '≤ 1.03'))


class Rung(NamedTuple):
    """One variant of the step."""

    name: str
    config: Callable[[], Config]
    tolerance: float | None  # of the first step's losses; None: not compared
    stacked: bool = True  # as of `TrainStep`
    hand_written: bool = False


def ladder(path: str, options: Mapping[str, Any] | None = None) -> list[Rung]:
    """All variants of a distillation with WSLD; MMRazor's own first. Arguments as of :func:`compare_steps`."""
    def config(change: Callable[[Config], None] | None = None, channels_last: bool = True, amp: str | None = None,
               compile: Any = False) -> Config:
        parts = dict(channels_last=channels_last, amp=amp, compile=compile)
        changes = {**(options or {}), **{f'accelerate.{name}': value for name, value in parts.items()}}
        with TemporaryDirectory() as folder:
            cfg = training_config(path, work_dir=folder, validate=False, options=changes)
        if change:
            change(cfg)
        return cfg

    plain, bf16 = partial(config, channels_last=False), partial(config, amp='bf16')
    cached = partial(use_cached_labels, views=1)
    return [
        Rung('MMRazor', partial(plain, _use_mmrazor), FLOAT32, stacked=False),
        Rung('logits-only teacher', plain, FLOAT32, stacked=False),
        Rung('stacked batches', plain, FLOAT32),
        Rung('channels-last', config, FLOAT32),
        Rung('hand-written, fp32', config, FLOAT32, hand_written=True),
        Rung('bf16', bf16, BFLOAT16),
        Rung('hand-written, bf16', bf16, BFLOAT16, hand_written=True),
        Rung('compiled', partial(bf16, compile=True), BFLOAT16),
        Rung('graphs', partial(bf16, compile=dict(mode='reduce-overhead')), BFLOAT16),
        Rung('cached, fp32', partial(config, cached), FLOAT16),
        Rung('student alone, fp32', partial(config, _use_student), None),
        Rung('cached, bf16', partial(bf16, cached), BFLOAT16),
        Rung('student alone, bf16', partial(bf16, _use_student), None)]


def compare_steps(path: str, *, pairs: int, warmup: int = 2, batch_size: int | None = None,
                  image_size: int | None = None, chosen: Sequence[str] | None = None,
                  options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Time the variants of a distillation step in turns; each takes one step in every round.

    Args:
        path: of a training config whose model is a `SoftLabelDistill` with WSLD and one network as teacher.
        pairs, warmup: rounds, ≥ 2, and rounds before them that are not timed.
        batch_size, image_size: N, and the side of the square images in pixels; default: the config's own.
        chosen: names of variants beside MMRazor's; default: all that this machine can run.
        options: dotted keys and values that replace those of the config.

    Returns:
        The report, for :func:`step_markdown` and JSON. Ratios are quartiles over rounds, losses beside MMRazor's.

    Raises:
        ConfigError: a config without such a distillation; an unknown variant.
        RunError: the first step's losses of a variant differ from MMRazor's; nothing was timed.
    """
    first, *others = ladder(path, options)
    names = [rung.name for rung in others]
    for name in chosen or ():
        check_choice('--rungs', name, names)
    cuda = torch.cuda.is_available()
    rungs = [first, *(rung for rung in others if rung.name in (chosen or names) and (cuda or rung.name != 'graphs'))]
    cfg = first.config()
    batch_size, image_size = batch_size or cfg.train_dataloader.batch_size, image_size or _image_size(cfg)
    head = header(benchmark='step', config=path, batch_size=batch_size, image_size=image_size, pairs=pairs,
                  warmup=warmup)
    student = cfg.model.architecture
    preprocessor = cfg.get('data_preprocessor') or student.get('data_preprocessor') or {}
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, len(preprocessor.get('mean') or 'RGB'), image_size, image_size)
    batch = (torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
             torch.randint(0, student.head.num_classes, (batch_size,), generator=generator))
    steps: dict[str, Any] = {}
    losses: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as caches:
        for rung in rungs:
            reference = steps.get(first.name)
            kind: Any = HandWrittenStep if rung.hand_written else TrainStep
            step = steps[rung.name] = kind(rung.config(), batch, rung.stacked, reference)
            if reference is not None and isinstance(getattr(step.model, 'teacher', None), CachedTeacher):
                _open_cache(step, reference, Path(caches, rung.name))
            set_random_seed(0)
            losses[rung.name] = {key: value.item() for key, value in step(step.new_batch()).items()}
            if rung.tolerance is not None:
                check_agrees(rung.name, losses[first.name], losses[rung.name], rung.tolerance)
        seconds = time_in_turns({name: (step.new_batch, step) for name, step in steps.items()}, pairs, warmup,
                                torch.cuda.synchronize if cuda else lambda: None)
    rows = [dict(name=rung.name, seconds=taken, median=median(taken), items_per_second=batch_size / median(taken),
                 speedup=paired_ratio(seconds[first.name], taken), loss_difference=None if rung.tolerance is None else
                 abs(losses[rung.name]['loss'] / losses[first.name]['loss'] - 1))
            for rung, taken in zip(rungs, seconds.values(), strict=True)]
    goals = [dict(what=what, goal=goal, ratio=paired_ratio(seconds[one], seconds[other]))
             for what, one, other, goal in GOALS if one in seconds and other in seconds]
    return dict(head, rows=rows, goals=goals)


def step_markdown(report: Mapping[str, Any]) -> str:
    """The report of :func:`compare_steps` as text."""
    cells = [['', 'step, ms', 'img/s', "× MMRazor's", 'quartiles', 'loss differs by'], *(
        [row['name'], f'{1000 * row["median"]:.1f}', f'{row["items_per_second"]:.1f}', f'{row["speedup"][1]:.2f}',
         f'{row["speedup"][0]:.2f} … {row["speedup"][2]:.2f}',
         '' if row['loss_difference'] is None else f'{row["loss_difference"]:.0e}'] for row in report['rows'])]
    goals = [['time of', 'ratio', 'quartiles', 'goal'], *(
        [row['what'], f'{row["ratio"][1]:.3f}', f'{row["ratio"][0]:.3f} … {row["ratio"][2]:.3f}', row['goal']]
        for row in report['goals'])]
    return '\n'.join([
        *head_lines(report),
        f'Batches of {report["batch_size"]} images of {report["image_size"]} × {report["image_size"]} pixels; '
        f'{report["pairs"]} rounds after {report["warmup"]} to warm up.', '', aligned_table(cells), '',
        *([aligned_table(goals), ''] if report['goals'] else []),
        'Medians of time, and of ratios within a round, in which every variant takes one step.'])


class TrainStep:
    """``model.train_step`` of a training config: preprocessing, forward, backward and the optimizer.

    The model is built and accelerated as in training, but no checkpoint is loaded, and the learning rate is 0: the
    arithmetic is the same, and the weights do not change.

    Args:
        cfg, stacked: a training config, and whether the loader stacks the images.
        batch: images (N, channels, H, W), uint8, and labels (N,), on the CPU.
        like: a step whose weights the student and the teacher copy; default: initialised weights.
    """

    def __init__(self, cfg: Config, batch: tuple[torch.Tensor, torch.Tensor], stacked: bool = True,
                 like: TrainStep | None = None) -> None:
        set_random_seed(0)
        parts, logger = cfg.get('accelerate') or {}, MMLogger.get_current_instance()
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'), ExitStack() as stack:
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel('WARNING')  # without lines about how each weight was initialised
            self.model = MODELS.build(model_config(cfg)).to(get_device())
            self.model.init_weights()
            for role in ('student', 'teacher'):
                part = getattr(self.model, role, self.model if role == 'student' else None)
                if like is not None and part is not None and part.state_dict():
                    part.load_state_dict(getattr(like.model, role).state_dict())
                elif like is None and part is not None:
                    for parameter in part.head.parameters():  # the logits are too small for losses to differ visibly
                        parameter.data.mul_(10)
            self.model.train()
            if parts.get('channels_last'):
                use_channels_last(self.model)
            if parts.get('compile'):
                compile_model(self.model, parts['compile'])
            self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        for group in self.optim_wrapper.param_groups:
            group['lr'] = 0.0
        samples = [dict(inputs=image, data_samples=DataSample().set_gt_label(label))
                   for image, label in zip(batch[0], batch[1].tolist(), strict=True)]
        self.batch = (default_collate if stacked else pseudo_collate)(samples)

    def new_batch(self) -> Any:
        """A copy: Mixup, CutMix and the preprocessor write to the samples of a batch."""
        return copy.deepcopy(self.batch)

    def __call__(self, batch: Any) -> dict[str, torch.Tensor]:
        """Take a step; return its log."""
        return self.model.train_step(batch, self.optim_wrapper)


class HandWrittenStep:
    """The step as a loop in plain PyTorch, with WSLD written from the paper; arguments as :class:`TrainStep`."""

    def __init__(self, cfg: Config, batch: tuple[torch.Tensor, torch.Tensor], stacked: bool, like: TrainStep) -> None:
        self.new_batch = lambda: batch
        self.model, self.teacher = build_model(cfg.model.architecture), build_model(cfg.model.teacher)
        self.order = torch.contiguous_format if obstacle(like.model) else torch.channels_last
        for network, role in ((self.model, 'student'), (self.teacher, 'teacher')):
            network.load_state_dict(getattr(like.model, role).state_dict())
            network.to(get_device(), memory_format=self.order)  # type: ignore[call-overload]
        self.model.train()
        self.teacher.eval()
        loss, = cfg.model.distiller.distill_losses.values()
        self.tau, self.weight = loss.tau, loss.loss_weight
        self.preprocessor: Any = like.model.data_preprocessor
        self.bf16 = cfg.accelerate.amp == 'bf16'
        self.optimizer = OPTIMIZERS.build(dict(cfg.optim_wrapper.optimizer, params=self.model.parameters(), lr=0.0))

    def __call__(self, batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Take a step; return its loss."""
        images, labels = (tensor.to(self.preprocessor.mean.device, non_blocking=True) for tensor in batch)
        if self.preprocessor.to_rgb and images.shape[1] == 3:
            images = images.flip(1)
        images = (images.float() - self.preprocessor.mean) / self.preprocessor.std
        images = images.contiguous(memory_format=self.order)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            with torch.no_grad():
                t = self.teacher(images, mode='tensor')
            s = self.model(images, mode='tensor')
        s, t = s.float(), t.float()
        ce = F.cross_entropy(s, labels, reduction='none')
        with torch.no_grad():
            w = 1 - torch.exp(-ce / (F.cross_entropy(t, labels, reduction='none') + 1e-7))
        soft = -(F.softmax(t / self.tau, 1) * F.log_softmax(s / self.tau, 1)).sum(1)
        loss = ce.mean() + self.weight * self.tau**2 * (w * soft).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return dict(loss=loss.detach())


def model_config(cfg: Config) -> dict[str, Any]:
    """The model's config as the Runner builds it, without the teachers' checkpoints."""
    model = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', copy.deepcopy(cfg.data_preprocessor))
    if model.get('teacher'):
        model.teacher_ckpt = False
        for member in model.teacher.get('members', []):
            member.checkpoint = False
    return model


def check_agrees(name: str, expected: Mapping[str, float], found: Mapping[str, float], tolerance: float) -> None:
    """Raise RunError unless ``loss``, and each loss that both have, is MMRazor's to a relative tolerance."""
    for key in ('loss', *(key for key in found if 'loss' in key and key in expected)):
        if not math.isclose(expected[key], found.get(key, math.nan), rel_tol=tolerance):
            raise RunError(f'{name} is not timed: {key} of its first step is {found.get(key)}, but MMRazor has '
                           f'{expected[key]}, expected the same to {tolerance:g} of it.')


def _use_mmrazor(cfg: Config) -> None:
    """The same distillation with MMRazor's own classes, whose teacher also computes its loss."""
    model = cfg.model
    losses = model.get('distiller', {}).get('distill_losses', {})
    if str(model.get('type')) != 'wsld_plugin.SoftLabelDistill' or 'wsld_plugin.' in str(model.teacher.get('type')) \
            or [loss.type for loss in losses.values()] != ['wsld_plugin.WSLD']:
        raise ConfigError(f"{cfg.filename}: the comparison begins with MMRazor's WSLD, so it needs a config with "
                          'SoftLabelDistill, one network as teacher and wsld_plugin.WSLD as the only loss, such as '
                          'configs/wsld/wsld_resnet34_resnet18_8xb32_in1k.py.')
    student, teacher = (resolve_model_cfg(model[role], where=f'model.{role}') for role in ('architecture', 'teacher'))
    (name, loss), = losses.items()
    distiller = {key: value for key, value in model.distiller.items() if key != 'connectors'}
    for source in distiller['loss_forward_mappings'][name].values():
        source.pop('connector', None)
    distiller['distill_losses'] = {name: dict(type='mmrazor.WSLD', tau=loss.tau, loss_weight=loss.loss_weight,
                                           num_classes=student['head']['num_classes'])}
    cfg.model = dict(type='mmrazor.SingleTeacherDistill', architecture=student, teacher=teacher, distiller=distiller)
    if cfg.get('data_preprocessor'):
        cfg.data_preprocessor = {'_scope_': 'mmpretrain', 'type': 'ClsDataPreprocessor', **cfg.data_preprocessor}


def _use_student(cfg: Config) -> None:
    cfg.model = resolve_model_cfg(cfg.model.architecture, where='model.architecture')


@torch.no_grad()
def _open_cache(step: TrainStep, reference: TrainStep, folder: Path) -> None:
    """Write the soft labels of the reference's teacher, and let the step's `CachedTeacher` read them."""
    data = reference.model.data_preprocessor(reference.new_batch(), training=False)
    logits = reference.model.teacher(data['inputs'], mode='tensor')
    labels = torch.cat([sample.gt_label for sample in data['data_samples']])
    with writing(folder, Header(teacher_weights='', teacher_config='', pipeline='', data_preprocessor='', dataset='',
                                num_samples=len(logits), num_classes=logits.shape[1], views=1, seed=0)) as writer:
        writer.append(encode(logits, labels))
        writer.finish()
    step.model.teacher.open(SoftLabels(folder))
    for index, sample in enumerate(step.batch['data_samples']):
        sample.set_field(SampleKey(0, 0, index), 'sample_key', field_type='metainfo')


def _image_size(cfg: Config) -> int:
    """The side of a training image in pixels: that of the last resizing transform."""
    dataset: Any = cfg.train_dataloader.dataset
    while not dataset.get('pipeline') and dataset.get('dataset'):
        dataset = dataset['dataset']
    sizes = [transform[key] for transform in dataset.get('pipeline') or []
             for key in ('crop_size', 'scale', 'size') if key in transform]
    side = sizes[-1] if sizes else None
    if isinstance(side, (list, tuple)) and len(set(side)) == 1:
        side = side[0]
    if not isinstance(side, int):
        raise ConfigError(f'{cfg.filename}: its train pipeline does not resize to a square; give --image-size.')
    return side
