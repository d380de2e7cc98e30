"""What is kept of the teacher's logits for one sample and view, and the logits that are made of it again."""
from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from wsld_plugin.losses.checks import check_range

_SMALLEST = float(np.finfo(np.float16).min)


def record_type(num_classes: int, top_k: int | None = None) -> np.dtype:
    """The fields of a record, without gaps.

    ================  ==========  ========================================================================
    ``log_probs``     float16, K  the largest of ``log_softmax(t)``, largest first; all C in their order without top_k
    ``classes``       integer, K  their classes, in 1 byte for C ≤ 256, 2 for C ≤ 65,536, else 4; with top_k only
    ``lse_tail``      float32     log Σ exp(log_softmax(t)/τ) of the other classes; with top_k only
    ``lse``           float32     log Σ exp(t)
    ``teacher_ce``    float32     cross entropy of the label, in nats
    ================  ==========  ========================================================================

    >>> record_type(1000).itemsize, record_type(1000, top_k=10).itemsize, record_type(100, top_k=10).itemsize
    (2008, 52, 42)
    """
    logits = [('log_probs', '<f2', (top_k or num_classes, ))]
    tail = [('classes', np.min_scalar_type(num_classes - 1).newbyteorder('<'), (top_k, )), ('lse_tail', '<f4')]
    return np.dtype([*logits, *(tail if top_k else []), ('lse', '<f4'), ('teacher_ce', '<f4')])


def encode(logits: Tensor, labels: Tensor, top_k: int | None = None, tau: float | None = None) -> np.ndarray:
    """Records (N,) of logits (N, C) and class indices (N,).

    Args:
        logits: ``t``, of any floating type and device.
        labels: the class of each sample.
        top_k: K < C; None: all classes.
        tau: temperature of the tail; needed with ``top_k``.

    Raises:
        ValueError: logits that are not finite; a label that is none of the C classes.

    The arithmetic is float64. A log-probability below float16's smallest number, -65,504, becomes that number.
    """
    logits = logits.detach().cpu().double()
    if not logits.isfinite().all():
        raise ValueError('the teacher gave logits that are not finite: nothing can be learned from them.')
    labels = labels.cpu().long()
    check_range(labels, logits.shape[1])
    lse = logits.logsumexp(1)
    log_probs = logits - lse[:, None]
    records = np.empty(len(logits), record_type(logits.shape[1], top_k))
    records['lse'] = lse
    records['teacher_ce'] = (lse - logits.gather(1, labels[:, None])[:, 0]).clamp(min=0)
    kept = log_probs
    if top_k:
        assert tau is not None
        kept, classes = log_probs.topk(top_k)
        records['classes'] = classes
        records['lse_tail'] = log_tail(log_probs, classes, tau)
    records['log_probs'] = kept.clamp(min=_SMALLEST)
    return records


def log_tail(log_probs: Tensor, classes: Tensor, tau: float) -> Tensor:
    """``log Σ exp(log_probs/τ)`` over the classes that are not among ``classes`` (N, K): (N,)."""
    return (log_probs / tau).scatter(1, classes, -math.inf).logsumexp(1)


def decode(fields: Mapping[str, Tensor], num_classes: int, tau: float | None = None) -> Tensor:
    """Logits (N, C), float32, on the device of the fields of N records.

    ::

        t[k] = log_probs[k] + lse                                    for a class k that was kept
        t[k] = τ·(lse_tail - log(C - K)) + lse                       for the others

    So ``softmax(t/τ)`` has the teacher's probability, up to the rounding to float16, at every class that was kept,
    and the exact mass of the others in equal parts. Keeping the tail's own log-sum-exp at τ, not that of all classes,
    keeps a small tail exact: as a difference it would be lost in rounding.
    """
    kept = fields['log_probs'].float() + fields['lse'][:, None]
    if 'classes' not in fields:
        return kept
    assert tau is not None
    others = num_classes - kept.shape[1]
    rest = tau * (fields['lse_tail'] - math.log(others)) + fields['lse']
    return rest[:, None].repeat(1, num_classes).scatter_(1, fields['classes'], kept)


def to_tensors(records: np.ndarray, device: torch.device | str) -> dict[str, Tensor]:
    """The fields of records (N,), as tensors for :func:`decode`; classes as int64."""
    names = records.dtype.names or ()
    arrays = {name: records[name].astype(np.int64) if name == 'classes' else records[name].copy()
              for name in names}
    return {name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in arrays.items()}
