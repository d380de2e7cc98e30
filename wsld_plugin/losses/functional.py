"""The losses as pure functions of logits, in nats, differentiated by autograd.

Each function checks its inputs, computes its equation and reduces. A new loss is a function here, beside :func:`kd`
and :func:`wsld`, and a module in :mod:`wsld_plugin.losses.soft_label`.

Logits are (N, C) for any C, on any device. The arithmetic is float32 for float32 and half precision, float64 for
float64, also under autocast. The teacher and the weights carry no gradient. ``reduction`` acts on the N samples only:
``'mean'`` divides by N, ``'sum'`` does not, ``'none'`` returns (N,).

Invalid settings and shapes raise :class:`wsld_plugin.errors.ConfigError` (a ``ValueError``), types ``TypeError``.
Invalid values (a class out of range, rows that are no probabilities) raise ``ConfigError`` on a CPU, ``IndexError``
or ``RuntimeError`` in compiled code, and fail an asynchronous assertion on a CUDA device; other devices do not check
them. Logits that are not finite are not rejected: their loss is not finite, except that in :func:`wsld` a teacher's
-inf is a probability of 0.
"""
from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from wsld_plugin.errors import check_choice

from . import checks

READINGS = ('label', 'row')

# The constant of WSLD's authors: keeps the ratio finite if the teacher is certain.
_EPS = 1e-7

# Cross entropies (N,) of logits and a prepared target. PyTorch skips one index silently; no data contain this one.
cross_entropy = partial(F.cross_entropy, reduction='none', ignore_index=-2**62)


def kd(student_logits: Tensor, teacher_logits: Tensor, tau: float = 1.0, reduction: str = 'mean',
       student_tau: float | None = None, tau_squared: bool = True) -> Tensor:
    """Knowledge distillation: the Kullback-Leibler divergence of tempered softmaxes.

    ::

        kd = f · mean_i KL(softmax(t_i / τ) ‖ softmax(s_i / τ_s)),    f = τ² if tau_squared else 1
        ∂kd/∂s_i = f/(N·τ_s) · (softmax(s_i / τ_s) - softmax(t_i / τ))

    Args:
        student_logits, teacher_logits: ``s`` and ``t``, (N, C); ``t`` is detached.
        tau: temperature τ > 0 of the teacher.
        reduction: ``'mean'``, ``'sum'`` or ``'none'``.
        student_tau: temperature τ_s > 0 of the student; default: τ.
        tau_squared: whether to multiply by τ², which keeps the size of the gradient as τ grows.

    Returns:
        A scalar, or (N,) for ``'none'``, in nats; 0 for equal tempered distributions, up to rounding.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, arXiv 1503.02531, who minimise the
    cross entropy, which has the same gradient. ``student_tau`` and ``tau_squared`` are for Yuan et al., CVPR 2020,
    arXiv 1909.11723: see ``configs/_base_/methods/tf_kd*.py``.

    >>> kd(torch.tensor([[0., 0.]]), torch.tensor([[0., 0.]]), tau=4.0)
    tensor(0.)
    """
    student_tau = tau if student_tau is None else student_tau
    checks.check_tau(tau)
    checks.check_tau(student_tau, 'student_tau')
    s, t = checks.prepare_logits(student_logits, teacher_logits)
    log_p = (t / tau).log_softmax(1)
    log_q = (s / student_tau).log_softmax(1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(1)
    return _reduce(tau**2 * divergence if tau_squared else divergence, reduction)


def wsld_weights(student_logits: Tensor, teacher_logits: Tensor, target: Tensor,
                 teacher_ce: Tensor | None = None) -> Tensor:
    """Weights of the soft labels: small if the student fits the target better than the teacher.

    ::

        w_i = 1 - exp(-CE_i(s) / (CE_i(t) + 1e-7)),    CE at temperature 1

    Computed as ``-expm1(-ratio)``, which keeps small weights. In float32 a cross entropy has an absolute error of
    about 1e-7: a weight is uncertain if both are that small, and 0 if the student's is below 6e-8.

    Args:
        student_logits, teacher_logits: ``s`` and ``t``, (N, C), both detached.
        target: class indices (N,), or probabilities (N, C) as of Mixup, which the source does not define: ``CE_i`` is
            then the soft cross entropy ``-Σ_k y_i[k] log_softmax(z_i)[k]``.
        teacher_ce: (N,), in nats, a more exact ``CE_i(t)``, as from a cache; None: computed from the logits.

    Returns:
        (N,), between 0 and 1, without gradient.

    Source: Zhou et al., Rethinking Soft Labels for Knowledge Distillation, ICLR 2021, arXiv 2102.00650.

    >>> logits = torch.tensor([[1., 0.], [0., 3.]])
    >>> wsld_weights(logits, logits, torch.tensor([0, 1]))    # equal logits: 1 - 1/e
    tensor([0.6321, 0.6321])
    """
    s, t = checks.prepare_logits(student_logits, teacher_logits)
    target = checks.prepare_target(target, s)
    student_ce = cross_entropy(s.detach(), target)
    if teacher_ce is None:
        teacher_ce = cross_entropy(t, target)
    else:
        teacher_ce = checks.prepare_teacher_ce(teacher_ce, s)
    return -torch.expm1(-student_ce / (teacher_ce + _EPS))


def wsld(student_logits: Tensor, teacher_logits: Tensor, target: Tensor, tau: float = 2.0,
         reduction: str = 'mean', teacher_ce: Tensor | None = None) -> Tensor:
    """Weighted soft labels: the soft cross entropy of each sample times its weight.

    ::

        L_i  = -Σ_k softmax(t_i / τ)[k] · log_softmax(s_i / τ)[k]
        wsld = τ² · mean_i(w_i · L_i)                                w: see wsld_weights
        ∂wsld/∂s_i = τ · w_i / N · (softmax(s_i / τ) - softmax(t_i / τ))

    ``L_i`` is a cross entropy: for equal logits its gradient is 0, but its value is not. The mean divides by N, not
    by Σw. The student's hard loss is not part of it.

    Args:
        student_logits, teacher_logits: ``s`` and ``t``, (N, C); ``t`` is detached.
        target, teacher_ce: see :func:`wsld_weights`.
        tau, reduction: see :func:`kd`; τ is the temperature of both.

    Returns:
        A scalar, or (N,) for ``'none'``, in nats.

    Source: Zhou et al., ICLR 2021, arXiv 2102.00650, who use τ = 2 and weight 2.5 on ImageNet. Differences from their
    code: ``expm1``, probabilities as target, any number of classes, float32 at least.

    >>> logits = torch.tensor([[1., 0.], [0., 3.]])
    >>> wsld(logits, logits, torch.tensor([0, 1]), tau=2.0)
    tensor(1.4386)
    """
    checks.check_tau(tau)
    s, t = checks.prepare_logits(student_logits, teacher_logits)
    w = wsld_weights(s, t, target, teacher_ce)
    soft_ce = -((t / tau).softmax(1) * (s / tau).log_softmax(1)).sum(1)
    return _reduce(tau**2 * w * soft_ce, reduction)


@torch.no_grad()
def gradient_parts(student_logits: Tensor, teacher_logits: Tensor, target: Tensor,
                   tau: float) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of each sample's soft label and its bias part a; the rest is its variance part b.

    ::

        L_kd = -τ² Σ_k softmax(t / τ)[k] · log_softmax(s / τ)[k],    CE = -Σ_k y[k] · log_softmax(s)[k]

        a     = ∂CE/∂s   = softmax(s) - y
        a + b = ∂L_kd/∂s = τ · (softmax(s / τ) - softmax(t / τ))

    Args:
        student_logits, teacher_logits: ``s`` and ``t``, (N, C).
        target: class indices (N,) or probabilities (N, C).
        tau: temperature τ > 0 of both.

    Returns:
        a, a + b and y as probabilities, (N, C) each, of one sample: without loss weights, without 1/N, without
        gradient. Each row of a and of b sums to 0. In float32, differences of probabilities below 1e-7 are rounding.

    Source: Zhou et al., Rethinking Soft Labels for Knowledge Distillation, ICLR 2021, arXiv 2102.00650.

    >>> a, total, y = gradient_parts(torch.zeros(1, 2), torch.tensor([[0., 2.]]), torch.tensor([1]), tau=1.0)
    >>> a, total - a
    (tensor([[ 0.5000, -0.5000]]), tensor([[-0.1192,  0.1192]]))
    """
    checks.check_tau(tau)
    s, t = checks.prepare_logits(student_logits, teacher_logits)
    y = checks.prepare_target(target, s)
    if not y.is_floating_point():
        checks.check_range(y, s.shape[1])
        y = one_hot(y, s.shape[1]).to(s.dtype)
    return s.softmax(1) - y, tau * ((s / tau).softmax(1) - (t / tau).softmax(1)), y


def regularization_samples(student_logits: Tensor, teacher_logits: Tensor, target: Tensor, tau: float,
                           reading: str = 'label') -> Tensor:
    """Whether each sample is a regularization sample: the variance part outweighs the bias part, |b| > |a|.

    No code for counting them was published, so there are two readings; see :func:`gradient_parts` for a and b:

    - ``'label'``, the gradient at the label's logit: ``|b_y| > |a_y|``. With u = 1 - softmax(s)[y] and
      v = τ·(softmax(s / τ)[y] - softmax(t / τ)[y]) it is v > 0 or v < -2u. For probabilities y, which the source does
      not define, a_y and b_y are the means Σ_k y[k]·a[k] and Σ_k y[k]·b[k].
    - ``'row'``, the whole row: ``‖b‖ > ‖a‖``, Euclidean.

    Args:
        student_logits, teacher_logits, target, tau: as there. Counts can be compared at equal τ only.
        reading: ``'label'`` or ``'row'``.

    Returns:
        (N,) bool. Equal logits are no regularization sample in either reading: there b = -a.

    >>> student, teacher = torch.tensor([[0., 1.], [0., 1.]]), torch.tensor([[0., 2.], [0., .5]])
    >>> regularization_samples(student, teacher, torch.tensor([1, 1]), tau=1.0)
    tensor([False,  True])
    """
    check_choice('reading', reading, READINGS)
    a, total, y = gradient_parts(student_logits, teacher_logits, target, tau)
    difference = total - 2 * a
    # |b| > |a| is (b + a)·(b - a) > 0, exact also where b + a is so small that b rounds to -a
    if reading == 'row':
        return (total * difference).sum(1) > 0
    return (total * y).sum(1) * (difference * y).sum(1) > 0


def one_hot(label: Tensor, num_classes: int) -> Tensor:
    """Labels (N,) as rows (N, C) bool. Unlike PyTorch's, it never waits for a device."""
    return label[:, None] == torch.arange(num_classes, device=label.device)


def _reduce(per_sample: Tensor, reduction: str) -> Tensor:
    check_choice('reduction', reduction, ('mean', 'sum', 'none'))
    return per_sample if reduction == 'none' else getattr(per_sample, reduction)()
