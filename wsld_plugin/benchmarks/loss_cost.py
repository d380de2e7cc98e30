"""What a piece of work costs beside time: operations, bytes that they move, and memory at its peak."""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Traffic:
    """Counted while some work ran.

    Args:
        operations: that PyTorch dispatched, without views and detach, which move nothing.
        bytes: of every tensor that went into and came out of them; from a cache or from memory is not told.
    """

    operations: int
    bytes: int


def traffic(work: Callable[[], object]) -> Traffic:
    """Count the operations of ``work`` and the bytes that they move. Compiled code is not seen."""
    with _Count() as count:
        work()
    return Traffic(count.operations, count.bytes)


def peak_extra_bytes(work: Callable[[], object], device: torch.device) -> int:
    """The most that ``work`` has allocated at one time beside what there was before, its result included.

    On CUDA as the allocator tells. On a CPU as the profiler records each allocation, those inside an operation too.
    ``work`` runs once before, so that what is made only the first time does not count.
    """
    work()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    # On a machine without a GPU the profiler's library logs that it found none.
    os.environ.setdefault('KINETO_LOG_LEVEL', '5')
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as recorded:
        work()
    events = sorted((event.start_ns(), event.nbytes()) for event in recorded.profiler.kineto_results.events()
                    if event.name() == '[memory]')
    live = peak = 0
    for _, change in events:
        live += change
        peak = max(peak, live)
    return peak


class _Count(TorchDispatchMode):

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func is not torch.ops.aten.detach.default:
            self.operations += 1
            self.bytes += sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves((args, kwargs, result))
                              if isinstance(leaf, torch.Tensor))
        return result
