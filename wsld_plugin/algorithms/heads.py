"""Which heads give logits that a soft-label loss can compare, and what to record instead."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from wsld_plugin.errors import ConfigError, did_you_mean

# Heads whose output is not one (N, C) tensor of logits for one softmax (nor their subclasses'), and what helps.
_UNFIT = {
    'ConformerHead': "it returns the logits of two branches; record one of them: source='head.conv_cls_head' "
                     "or source='head.trans_cls_head'",
    'ArcFaceClsHead': 'its logits carry a margin for the labelled class; use a LinearClsHead',
    'MultiTaskHead': "it returns a dict of tasks; record one task's head: source='head.task_heads.<task>'",
    'MultiLabelClsHead': 'its classes are independent sigmoids; soft labels of a softmax do not apply',
}
# Classifiers without a submodule `head`, and the submodule whose output is the logits.
_HEADLESS = {'TimmClassifier': "source='model' (and source='loss_module' for the target)"}


def check_sources(model: nn.Module, recorders: Mapping[str, Mapping[str, Any]] | None, role: str) -> None:
    """Refuse recorders that cannot find their module, and heads that do not return (N, C) logits.

    Args:
        model: the student or the teacher.
        recorders: the recorders' configs by name, as MMRazor's distiller takes them.
        role: ``'student'`` or ``'teacher'``, for the message.

    Raises:
        ConfigError: with the source to write instead, where there is one.
    """
    modules = dict(model.named_modules())
    for name, recorder in (recorders or {}).items():
        source = recorder.get('source', '')
        if not str(recorder.get('type', '')).split('.')[-1].startswith('Module'):
            continue  # functions, methods and parameters are found elsewhere
        if source not in modules:
            help_ = _HEADLESS.get(type(model).__name__)
            raise ConfigError(
                f'{role} recorder {name!r}: {type(model).__name__} has no submodule {source!r}.'
                + (f' Write {help_}.' if help_ else did_you_mean(source, modules)))
        if source == 'head':
            _check_head(modules['head'], role)


def _check_head(head: nn.Module, role: str) -> None:
    for kind in type(head).__mro__:
        if kind.__name__ in _UNFIT:
            raise ConfigError(f'the {role}\'s {type(head).__name__} does not fit source=\'head\': '
                              f'{_UNFIT[kind.__name__]}.')
    if role == 'student' and getattr(head, 'distillation', False):
        raise ConfigError(f'the student\'s {type(head).__name__} has distillation=True: it returns two '
                          'outputs while training; write head=dict(distillation=False).')


def head_classes(model: nn.Module) -> int | None:
    """The class count that a classifier's head declares; None where it declares none."""
    count = getattr(getattr(model, 'head', None), 'num_classes', None)
    return count if isinstance(count, int) and count > 0 else None
