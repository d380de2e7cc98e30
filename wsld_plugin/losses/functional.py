"""The losses as pure functions of logits, in nats.

Logits are (N, C) for any C, on any device. The arithmetic is float32 for float32 and half precision,
float64 for float64, also under autocast. The teacher and the weights carry no gradient. ``reduction`` acts on
the N samples only: ``'mean'`` divides by N, ``'sum'`` does not, ``'none'`` returns (N,).

The gradient is computed in the forward pass: see :mod:`wsld_plugin.losses.fused`. All of it can be compiled as
one graph, and differentiated twice where it is not compiled.

Settings that make no sense raise :class:`wsld_plugin.errors.ConfigError` (a ``ValueError``), tensors of a
wrong type ``TypeError``, of a wrong shape ``ValueError``. Wrong values (a class out of range, rows that are
no probabilities) raise ``ValueError`` on a CPU, where compiled the ``IndexError`` or ``RuntimeError`` of an
assertion; on a CUDA device they fail a device-side assertion that no step waits for; on other devices they are
not looked for. Values of logits are not checked: logits that are not finite give a loss that is not, except
that in ``wsld`` a teacher's -inf means a probability of 0.
"""
from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from . import checks
from .fused import fused_loss
from .rows import expected_surprisal, kd_rows, weights, wsld_rows


def kd(student_logits: Tensor, teacher_logits: Tensor, tau: float = 1.0, reduction: str = 'mean',
       student_tau: float | None = None, tau_squared: bool = True) -> Tensor:
    """Knowledge distillation: the Kullback-Leibler divergence of tempered softmaxes.

    ::

        kd = f · mean_i KL(softmax(t_i / τ) ‖ softmax(s_i / τ_s)),    f = τ² if tau_squared else 1
        ∂kd/∂s_i = f/(N·τ_s) · (softmax(s_i / τ_s) - softmax(t_i / τ))

    Args:
        student_logits: ``s``, (N, C).
        teacher_logits: ``t``, (N, C), detached.
        tau: temperature τ > 0 of the teacher.
        reduction: ``'mean'``, ``'sum'`` or ``'none'``.
        student_tau: temperature τ_s > 0 of the student; τ when None. Where the two differ, equal logits are
            no longer the minimum.
        tau_squared: whether the factor τ² is there, which keeps the gradient's size while τ grows. Without it
            and with τ_s = τ, the gradient falls as 1/τ².

    Returns:
        A scalar, or (N,) for ``'none'``, in nats; 0 when the tempered distributions are equal. Rounding can
        take a value that is almost 0 slightly below it.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, arXiv 1503.02531. The paper
    minimises the cross entropy; the divergence is less by the teacher's entropy and has the same gradient.
    ``student_tau`` and ``tau_squared`` are there for the formulas and the code of Yuan et al., CVPR 2020,
    arXiv 1909.11723: see ``configs/_base_/methods/tf_kd*.py``.

    >>> kd(torch.tensor([[0., 0.]]), torch.tensor([[0., 0.]]), tau=4.0)
    tensor(0.)
    """
    student_tau = tau if student_tau is None else student_tau
    checks.check_tau(tau)
    checks.check_tau(student_tau, 'student_tau')
    checks.check_reduction(reduction)
    student_logits, teacher_logits, dtype = checks.prepare_logits(student_logits, teacher_logits)
    rows = partial(kd_rows, tau=tau, student_tau=student_tau, factor=tau**2 if tau_squared else 1.0, dtype=dtype)
    return _reduce(fused_loss(rows, student_tau, student_logits, teacher_logits, dtype), reduction)


def wsld_weights(student_logits: Tensor, teacher_logits: Tensor, target: Tensor) -> Tensor:
    """Weights of the soft labels: small where the student already fits better than the teacher.

    ::

        w_i = 1 - exp(-CE_i(s) / (CE_i(t) + 1e-7)),    CE at temperature 1

    Computed as ``-expm1(-ratio)``, which keeps small weights. In float32 a cross entropy carries an absolute
    error of about 1e-7 (mean 5e-8 for a confident sample, 3e-8 of the value for a large one): a weight is
    uncertain where both cross entropies are that small, and 0 where the student's is below 6e-8.

    Args:
        student_logits: ``s``, (N, C), detached.
        teacher_logits: ``t``, (N, C), detached.
        target: class indices (N,), or probabilities (N, C) as Mixup, CutMix and label smoothing give them.
            ``CE_i`` is then the soft cross entropy ``-Σ_k y_i[k] log_softmax(z_i)[k]`` and the weight the
            ratio of the two: equal to the above for one-hot rows. The source defines indices only.

    Returns:
        (N,), between 0 and 1, without gradient.

    Source: Zhou et al., Rethinking Soft Labels for Knowledge Distillation, ICLR 2021, arXiv 2102.00650.

    >>> logits = torch.tensor([[1., 0.], [0., 3.]])
    >>> wsld_weights(logits, logits, torch.tensor([0, 1]))    # equal logits: 1 - 1/e
    tensor([0.6321, 0.6321])
    """
    student_logits, teacher_logits, dtype = checks.prepare_logits(student_logits, teacher_logits)
    target = checks.prepare_target(target, student_logits, dtype)
    student_ce, teacher_ce = (expected_surprisal(torch.log_softmax(logits, 1, dtype=dtype), target)
                              for logits in (student_logits.detach(), teacher_logits))
    return weights(student_ce, teacher_ce)


def wsld(student_logits: Tensor, teacher_logits: Tensor, target: Tensor, tau: float = 2.0,
         reduction: str = 'mean', teacher_ce: Tensor | None = None) -> Tensor:
    """Weighted soft labels: the soft cross entropy of each sample times its weight.

    ::

        L_i  = -Σ_k softmax(t_i / τ)[k] · log_softmax(s_i / τ)[k]
        wsld = τ² · mean_i(w_i · L_i)                                w: see wsld_weights
        ∂wsld/∂s_i = τ · w_i / N · (softmax(s_i / τ) - softmax(t_i / τ))

    ``L_i`` is a cross entropy, not a divergence: when the logits are equal, its gradient is 0 and it is not.
    The mean divides by N, not by Σw. The student's hard loss is not part of it.

    Args:
        student_logits: ``s``, (N, C).
        teacher_logits: ``t``, (N, C), detached.
        target: class indices (N,) or probabilities (N, C); see :func:`wsld_weights`.
        tau: temperature τ > 0.
        reduction: ``'mean'``, ``'sum'`` or ``'none'``.
        teacher_ce: (N,), in nats, ``CE_i(t)`` at temperature 1, for when it is known more exactly than these
            logits give it (rounded or truncated logits from a cache); computed from them when None.

    Returns:
        A scalar, or (N,) for ``'none'``, in nats.

    Source: Zhou et al., ICLR 2021, arXiv 2102.00650, who use τ = 2 and weight 2.5 on ImageNet. Deliberate
    differences from their code: ``expm1``, probabilities as target, any number of classes, float32 at least.

    >>> logits = torch.tensor([[1., 0.], [0., 3.]])
    >>> wsld(logits, logits, torch.tensor([0, 1]), tau=2.0)
    tensor(1.4386)
    """
    checks.check_tau(tau)
    checks.check_reduction(reduction)
    student_logits, teacher_logits, dtype = checks.prepare_logits(student_logits, teacher_logits)
    target = checks.prepare_target(target, student_logits, dtype)
    if teacher_ce is not None:
        teacher_ce = checks.prepare_teacher_ce(teacher_ce, len(teacher_logits), dtype)
    rows = partial(wsld_rows, tau=tau, dtype=dtype)
    return _reduce(fused_loss(rows, tau, student_logits, teacher_logits, dtype, target, teacher_ce), reduction)


def _reduce(per_sample: Tensor, reduction: str) -> Tensor:
    if reduction == 'none':
        return per_sample
    return per_sample.mean() if reduction == 'mean' else per_sample.sum()
