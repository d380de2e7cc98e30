"""What the losses accept.

Settings, shapes and types are checked in every call, on the host. Values are checked at once on a CPU; on a GPU, and
in code compiled by ``torch.compile``, an assertion is queued, so that no step waits for the device.
"""
from __future__ import annotations

import torch
from torch import Tensor

from wsld_plugin.errors import ConfigError, check_number

# The index of a hidden label. PyTorch's cross entropy skips it, and so do mmpretrain's losses built on it.
HIDDEN = -100

_ASYNC_ASSERT_DEVICES = ('cpu', 'cuda', 'meta')


def check_tau(tau: float, name: str = 'tau') -> None:
    """Raise :class:`ConfigError` unless the temperature is a positive finite number."""
    check_number(name, tau, 0, inclusive=False)


def prepare_logits(student_logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Check both logits (N, C); return them, the teacher's detached, in their common type, float32 at least."""
    for owner, logits in (('student', student_logits), ('teacher', teacher_logits)):
        if not isinstance(logits, Tensor) or not logits.is_floating_point():
            raise TypeError(f'The {owner} logits are {_kind(logits)}, but a floating point tensor (N, C) is '
                            'expected: record the output of a head that returns one tensor.')
        if logits.ndim != 2 or logits.numel() == 0:
            raise ConfigError(f'The {owner} logits have shape {tuple(logits.shape)}, but (N, C) with at least '
                              'one sample and one class is expected: record the output of the head.')
    if student_logits.shape != teacher_logits.shape:
        raise ConfigError(f'The student logits have shape {tuple(student_logits.shape)} and the teacher '
                          f'logits {tuple(teacher_logits.shape)}, but both must be the same (N, C). If the '
                          'classes differ, give the teacher a wsld_plugin.LogitConnector with a class_map.')
    dtype = torch.float64 if torch.float64 in (student_logits.dtype, teacher_logits.dtype) else torch.float32
    return student_logits.to(dtype), teacher_logits.detach().to(dtype)


def prepare_target(target: Tensor, logits: Tensor) -> Tensor:
    """Check a target for logits (N, C); return probabilities in their type, and indices as int64.

    The range of indices is checked on a CPU only: elsewhere PyTorch's cross entropy asserts it.
    """
    target = check_target(target, *logits.shape)
    if target.is_floating_point():
        return target.to(logits.dtype)
    if _can_look(target):
        check_range(target, logits.shape[1])
    return target


def check_target(target: Tensor, n: int, c: int) -> Tensor:
    """Check a target of indices (N,), not their range, or probabilities (N, C); return it as int64, or detached.

    Rows of integers are one-hot probabilities, and are returned as float32.
    """
    if not isinstance(target, Tensor) or target.dtype == torch.bool or target.is_complex():
        raise TypeError(f'The target is {_kind(target)}, but integer class indices (N,) or floating point '
                        'probabilities (N, C) are expected.')
    if target.ndim == 2 and not target.is_floating_point():  # one-hot rows, as mmpretrain's `to_onehot` gives them
        target = target.float()
    expected = (n, c) if target.is_floating_point() else (n,)
    if target.shape != expected:
        raise ConfigError(f'The target has shape {tuple(target.shape)} and type {target.dtype}, but for '
                          f'logits {(n, c)} integer class indices {(n,)} or floating point probabilities '
                          f'{(n, c)} are expected.')
    if not target.is_floating_point():
        return target.long()
    sums, minima = target.sum(1, dtype=torch.float32), target.amin(1)
    # Rows rounded to bfloat16 sum to 1 within its eps, 8e-3.
    tolerance = max(1e-3, torch.finfo(target.dtype).eps)
    require((minima >= 0) & ((sums - 1).abs() <= tolerance),
            f'each row of an (N, C) target must be probabilities, none below 0 and with sum 1 '
            f'(±{tolerance:.0e}): normalise the rows, or give class indices (N,).', sum=sums, minimum=minima)
    return target.detach()


def check_range(target: Tensor, num_classes: int) -> None:
    """Raise :class:`ConfigError` for class indices outside ``[0, num_classes)``."""
    require((target >= 0) & (target < num_classes),
            f'logits of {num_classes} classes need indices from 0 to {num_classes - 1}: compare num_classes of the '
            f'head with the labels of the data set. The class {HIDDEN} is a label hidden by PartialLabels or '
            'FewLabels, which a loss that needs the label, such as WSLD, cannot use: wsld_plugin.KD learns from such '
            'samples; or train on the labelled samples alone, with FewLabels and rest=False.', **{'class': target})


def prepare_teacher_ce(teacher_ce: Tensor, logits: Tensor) -> Tensor:
    """Check a given cross entropy of the teacher, (N,) in nats; return it detached, in the type of the logits."""
    if not isinstance(teacher_ce, Tensor) or not teacher_ce.is_floating_point():
        raise TypeError(f'teacher_ce is {_kind(teacher_ce)}, but a floating point tensor (N,) is expected.')
    if teacher_ce.shape != logits.shape[:1]:
        raise ConfigError(f'teacher_ce has shape {tuple(teacher_ce.shape)}, but one cross entropy per sample, '
                          f'{(len(logits),)}, is expected.')
    require(teacher_ce >= 0, 'a cross entropy is never below 0: give -log p of the target, in nats.',
            teacher_ce=teacher_ce)
    return teacher_ce.detach().to(logits.dtype)


def require(valid: Tensor, rule: str, **given: Tensor) -> None:
    """Raise unless all of ``valid`` (N,) is true, on a CPU with the first invalid sample's values ``given`` (N,)."""
    if _can_look(valid):
        if not valid.all():
            row = int((~valid).nonzero()[0])
            values = ' and '.join(f'{name} {tensor[row].item():.6g}' for name, tensor in given.items())
            raise ConfigError(f'Sample {row} has {values}, but {rule}')
    elif valid.device.type in _ASYNC_ASSERT_DEVICES:
        # Other devices have no assertion that does not wait, and a wait in every step costs too much.
        torch._assert_async(valid.all(), f'In some sample {" or ".join(given)} is wrong: {rule}')


def _can_look(tensor: Tensor) -> bool:
    return tensor.device.type == 'cpu' and not torch.compiler.is_compiling()


def _kind(value: object) -> str:
    return f'a tensor of {value.dtype}' if isinstance(value, Tensor) else f'a {type(value).__name__}'
