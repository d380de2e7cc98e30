"""The losses alone, forward and backward, beside MMRazor's own."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from mmrazor.models.losses import WSLD as RazorWSLD
from mmrazor.models.losses import KLDivergence
from torch import Tensor

from wsld_plugin.errors import ConfigError, check_choice
from wsld_plugin.losses import KD, WSLD

from .loss_cost import peak_extra_bytes, traffic
from .loss_gate import Oracle, check_exact, kd_oracle, wsld_oracle
from .report import header
from .run import CLOCKS
from .timing import Variant, compare, time_in_turns

TAU = 2.0
DTYPES = dict(float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def compare_losses(shapes: Sequence[tuple[int, int]], *, pairs: int, warmup: int = 5, dtype: str = 'float32',
                   device: str = 'cpu', compiled: bool = False, clock: str = 'wall') -> dict[str, Any]:
    """Time value and gradient of WSLD and of KD in turns with MMRazor's classes, unmodified, at τ = 2.

    Args:
        shapes: (N, C) of the logits.
        pairs: rounds, ≥ 2.
        warmup: rounds before them.
        dtype: of the logits: float32, bfloat16 or float16.
        device: where they lie.
        compiled: beside ours as it is also what ``torch.compile`` makes of it.
        clock: ``'wall'``, or ``'cpu'`` for the processor time of all threads, with the logits on a CPU.

    Returns:
        The header, and under ``tables`` one for each loss and shape: ``loss``, ``shape``, ``unit`` (bytes of one
        tensor of logits) and ``rows``. ``predicted_ratio`` is that of the bytes moved; None where they were not
        counted, as of compiled code.

    Raises:
        ConfigError: an unknown type or clock.
        RefusedVariant: a loss that is not what the equations say; nothing was timed.
    """
    check_choice('dtype', dtype, DTYPES)
    check_choice('clock', clock, CLOCKS)
    where = torch.device(device)
    if where.type == 'cuda' and (clock == 'cpu' or not torch.cuda.is_available()):
        raise ConfigError(f'device={device!r} with clock={clock!r}: expected a CUDA device that PyTorch finds, and '
                          "the clock 'wall', which sees what it does; or device='cpu'.")
    head = header(benchmark='loss', dtype=dtype, device=device, clock=clock, pairs=pairs, warmup=warmup, tau=TAU)
    works = [(name, shape, *_works(name, shape, DTYPES[dtype], where, compiled))
             for shape in shapes for name in ('WSLD', 'KD')]
    return dict(head, tables=[_table(*work, where, pairs, warmup, clock) for work in works])


def _works(name: str, shape: tuple[int, int], dtype: torch.dtype, device: torch.device,
           compiled: bool) -> tuple[int, dict[str, Callable[[], Tensor]], dict[str, dict[str, float]]]:
    """Bytes of a tensor of logits, what is timed by its name, and how exact each is."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (logits.to(device, dtype) for logits in 3 * torch.randn(2, *shape, generator=generator))
    student.requires_grad_()
    target = torch.randint(shape[1], shape[:1], generator=generator).to(device)
    losses, oracle = _losses(name, shape[1], compiled)
    wanted = oracle(student, teacher, target, TAU)
    works: dict[str, Callable[[], Tensor]] = {}
    errors = {}
    for own, loss in losses.items():
        works[own] = partial(_gradient, loss, student, teacher, target)
        errors[own] = check_exact(own, loss(student, teacher, target), works[own](), wanted)
    return student.numel() * student.element_size(), works, errors


def _gradient(loss: Loss, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
    return torch.autograd.grad(loss(student, teacher, target), student)[0]


def _losses(name: str, classes: int, compiled: bool) -> tuple[dict[str, Loss], Oracle]:
    ours: Loss
    if name == 'WSLD':
        razor = RazorWSLD(TAU, num_classes=classes)
        losses: dict[str, Loss] = {'MMRazor WSLD': razor}
        ours, oracle = WSLD(TAU), wsld_oracle
    else:
        divergence = KLDivergence(TAU)
        losses = {'MMRazor KLDivergence': lambda student, teacher, target: divergence(student, teacher)}
        ours, oracle = KD(TAU), kd_oracle
    losses[f'wsld_plugin {name}'] = ours
    if compiled:
        losses[f'wsld_plugin {name}, compiled'] = torch.compile(ours, fullgraph=True)
    return losses, oracle


def _table(name: str, shape: tuple[int, int], unit: int, works: dict[str, Callable[[], Tensor]],
           errors: dict[str, dict[str, float]], device: torch.device, pairs: int, warmup: int,
           clock: str) -> dict[str, Any]:
    counted = {own: traffic(work) for own, work in works.items() if 'compiled' not in own}
    first = next(iter(counted.values()))
    memory = {own: peak_extra_bytes(work, device) for own, work in works.items()}
    synchronise = torch.cuda.synchronize if device.type == 'cuda' else _no_device
    seconds = time_in_turns([_variant(own, work) for own, work in works.items()], pairs, warmup, synchronise,
                            CLOCKS[clock])
    rows = []
    for row in compare(seconds):
        cost = counted.get(row.name)
        rows.append(dict(asdict(row), **errors[row.name], peak_extra_bytes=memory[row.name],
                         operations=cost and cost.operations, bytes=cost and cost.bytes,
                         predicted_ratio=cost and cost.bytes / first.bytes))
    return dict(loss=name, shape=list(shape), unit=unit, rows=rows)


def _variant(name: str, work: Callable[[], Tensor]) -> Variant:
    return Variant(name, lambda _: work())


def _no_device() -> None:
    return None
