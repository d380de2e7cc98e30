"""One distillation step, from MMRazor's own to the fastest, a rung at a time."""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from wsld_plugin.config.models import build_model, resolve_model_cfg
from wsld_plugin.engine.accelerate import accelerate
from wsld_plugin.errors import ConfigError, did_you_mean

from .cached import cached_config
from .step import channels_of

_OFF = dict(amp=None, channels_last=False, fold_teacher_bn=False, compile=False)
# Of a loss of the first step, relative to MMRazor's: five digits in float32; three where soft labels were kept in
# float16, of eleven bits; two in bfloat16, of eight bits.
FLOAT32, FLOAT16, BFLOAT16 = 1e-5, 1e-3, 2e-2


class Rung(NamedTuple):
    """A step that differs from the one before in one thing.

    Args:
        name: in the report.
        cfg: a training config.
        tolerance: relative difference of the first step's losses to MMRazor's that is allowed; None: it has others.
        predicted: how many times as fast as the one before, where arithmetic tells; see :func:`rungs`.
    """

    name: str
    cfg: Config
    tolerance: float | None
    predicted: str = ''


def rungs(cfg: Config, side: int, chosen: Sequence[str] | None = None) -> list[Rung]:
    """The ladder of a distillation with WSLD.

    The prediction for dropping the teacher is that of counted operations, with a backward pass of twice the forward
    one: ``(3·student + teacher) / (3·student)``. For bfloat16 it is the ratio of peak rates, 2 at most.

    Args:
        cfg: a training config whose model is a `SoftLabelDistill` with a trained network as teacher.
        side: of the square images, in pixels.
        chosen: names of rungs to climb beside the first; None: all that this machine can.

    Raises:
        ConfigError: the config is no such distillation; an unknown rung.
    """
    makers = dict(_ladder(cfg, side))
    for name in chosen or ():
        if name not in makers:
            raise ConfigError(f'rung {name!r} is not on the ladder: {", ".join(makers)}.{did_you_mean(name, makers)}')
    first, *others = makers
    names = [first, *(name for name in others if (name in chosen if chosen else _possible(name)))]
    return [makers[name](name) for name in names]


def left_out(names: Sequence[str]) -> list[str]:
    """Why rungs of the ladder are not in a report."""
    return ['graphs: not run, needs a CUDA device.'] if 'graphs' not in names and not _possible('graphs') else []


def _possible(name: str) -> bool:
    return name != 'graphs' or torch.cuda.is_available()


def _ladder(cfg: Config, side: int) -> Iterator[tuple[str, Callable[[str], Rung]]]:
    def rung(tolerance: float | None = FLOAT32, predicted: str = '', stack: bool = True,
             **parts: Any) -> Callable[[str], Rung]:
        return lambda name: Rung(name, _with(cfg, stack, parts), tolerance, predicted)

    order: dict[str, Any] = dict(channels_last=True)
    folded: dict[str, Any] = dict(order, fold_teacher_bn=True)
    bf16: dict[str, Any] = dict(folded, amp='bf16')
    yield 'MMRazor', lambda name: Rung(name, reference_config(cfg), FLOAT32)
    yield 'logits-only teacher', rung(stack=False)
    yield 'stacked batches', rung()
    yield 'channels-last', rung(**order)
    yield 'folded teacher', rung(**folded)
    yield 'bf16', rung(BFLOAT16, '≤ 2', **bf16)
    yield 'compiled', rung(BFLOAT16, **bf16, compile=True)
    yield 'graphs', rung(BFLOAT16, **bf16, compile=dict(mode='reduce-overhead'))
    gain = _without_teacher(cfg, side)
    # each beside the student alone, which is what it should cost
    yield 'cached, fp32', lambda name: Rung(name, cached_config(_with(cfg, True, order)), FLOAT16,
                                            gain + ' of folded')
    yield 'student alone, fp32', lambda name: Rung(name, student_config(_with(cfg, True, order)), None, '1')
    yield 'cached, bf16', lambda name: Rung(name, cached_config(_with(cfg, True, bf16)), BFLOAT16,
                                            gain + ' of bf16')
    yield 'student alone, bf16', lambda name: Rung(name, student_config(_with(cfg, True, bf16)), None, '1')


def _without_teacher(cfg: Config, side: int) -> str:
    student, teacher = (_operations(build_model(cfg.model[role]), side) for role in ('architecture', 'teacher'))
    return f'{(3 * student + teacher) / (3 * student):.2f}'


@torch.no_grad()
def _operations(model: Any, side: int) -> int:
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, channels_of(model), side, side), mode='tensor')
    return counter.get_total_flops()


def _with(cfg: Config, stack: bool, parts: Mapping[str, Any]) -> Config:
    changed = copy.deepcopy(cfg)
    changed.accelerate = {**_OFF, **parts}
    changed.train_dataloader.collate_fn = dict(type='default_collate' if stack else 'pseudo_collate')
    accelerate(changed)
    return changed


def reference_config(cfg: Config) -> Config:
    """The same distillation with MMRazor's own classes, unmodified: ``SingleTeacherDistill`` and ``WSLD``.

    float32, images that are stacked one by one in the preprocessor, a teacher that computes its loss: what MMRazor's
    shipped config does.

    Raises:
        ConfigError: the config has no ``SoftLabelDistill`` of one network with WSLD.
    """
    model = cfg.model
    losses = model.get('distiller', {}).get('distill_losses', {})
    if str(model.get('type')) != 'wsld_plugin.SoftLabelDistill' \
            or model.get('teacher', {}).get('type') != 'ImageClassifier' \
            or [loss['type'] for loss in losses.values()] != ['wsld_plugin.WSLD']:
        raise ConfigError(f"{cfg.filename}: the ladder begins with MMRazor's WSLD, so it needs a config with "
                          "model.type='wsld_plugin.SoftLabelDistill', one network as teacher and WSLD as its loss, "
                          'such as configs/wsld/wsld_resnet34_resnet18_8xb32_in1k.py.')
    student, teacher = (resolve_model_cfg(model[role], where=f'model.{role}') for role in ('architecture', 'teacher'))
    (name, loss), = losses.items()
    distiller = copy.deepcopy(model.distiller)
    distiller.pop('connectors', None)
    for source in distiller.loss_forward_mappings[name].values():
        source.pop('connector', None)
    distiller.distill_losses = {name: dict(type='mmrazor.WSLD', tau=loss.tau, loss_weight=loss.loss_weight,
                                           num_classes=student['head']['num_classes'])}
    changed = _with(cfg, False, {})
    changed.model = dict(type='mmrazor.SingleTeacherDistill', architecture=student, teacher=teacher,
                         distiller=distiller)
    if cfg.get('data_preprocessor'):
        changed.data_preprocessor = {'_scope_': 'mmpretrain', 'type': 'ClsDataPreprocessor', **cfg.data_preprocessor}
    return changed


def student_config(cfg: Config) -> Config:
    """The student of a distillation as a plain classifier, all else equal."""
    changed = copy.deepcopy(cfg)
    changed.model = resolve_model_cfg(cfg.model.architecture, where='model.architecture')
    return changed
