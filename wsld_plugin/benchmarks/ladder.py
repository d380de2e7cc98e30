"""One distillation step, from MMRazor's own to the fastest, a rung at a time."""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.config import Config

from wsld_plugin.engine.accelerate import accelerate
from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.models.build import resolve_model_cfg

_OFF = dict(amp=None, channels_last=False, fold_teacher_bn=False, compile=False)
# Of a loss of the first step, relative to MMRazor's: five digits in float32, two in bfloat16, which has eight bits.
FLOAT32, BFLOAT16 = 1e-5, 2e-2


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


def rungs(cfg: Config, chosen: Sequence[str] | None = None) -> list[Rung]:
    """The ladder of a distillation with WSLD.

    The prediction for dropping the teacher is that of arithmetic, for networks whose backward pass costs twice the
    forward one: ``(3·student + teacher) / (3·student)`` with the parameters in place of the operations, which holds
    roughly within a family; for bfloat16 it is the ratio of the processor's peak rates, 2 at most.

    Args:
        cfg: a training config whose model is a `SoftLabelDistill` with a trained network as teacher.
        chosen: names of rungs to climb beside the first; None: all that this machine can.

    Raises:
        ConfigError: the config is no such distillation; an unknown rung.
    """
    makers = dict(_ladder(cfg))
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


def _ladder(cfg: Config) -> Iterator[tuple[str, Callable[[str], Rung]]]:
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
    yield 'student alone, fp32', lambda name: Rung(name, student_config(_with(cfg, True, folded)), None)
    yield 'student alone, bf16', lambda name: Rung(name, student_config(_with(cfg, True, bf16)), None, '≤ 2')


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
    if str(model.get('type')) != 'wsld_plugin.SoftLabelDistill' or 'type' in model.get('teacher', {}) \
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
