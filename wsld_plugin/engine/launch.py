"""Starting several processes, with or without a GPU."""
from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.device import get_device
from torch import distributed

from wsld_plugin.errors import ConfigError

from .flexible import is_flexible, needs_launcher

_ended: list[distributed.ProcessGroup | None] = []  # of runs that may not be freed yet


@contextmanager
def launched(cfg: dict[str, Any]) -> Iterator[None]:
    """Run a Runner inside: started by :func:`prepare_launch`, ended together with the other processes.

    A process that leaves while another is still in a collective makes that one abort. The last reference to a process
    group waits for its threads; DDP's does so while it holds the interpreter, which such a thread may need in order
    to end, and both wait for ever. So one more reference is kept here, until `free_ended_runs`.
    """
    prepare_launch(cfg)
    yield
    if distributed.is_initialized():
        distributed.barrier()
        _ended.append(distributed.group.WORLD)
        distributed.destroy_process_group()


def free_ended_runs() -> None:
    """Free what runs left in memory, and end gloo's threads.

    One that still runs while the interpreter shuts down aborts the process.
    """
    gc.collect()  # a Runner refers to itself
    _ended.clear()


def prepare_launch(cfg: dict[str, Any]) -> None:
    """Make a distributed run possible without a GPU; with one, mmengine does it all and this does nothing.

    mmengine's start-up selects a CUDA device whatever the machine. A process group that exists already
    it leaves alone, so on a CPU one is made here, on gloo, and DDP is told to use no device ids.

    Args:
        cfg: the whole config, ``launcher`` in it; changed in place.

    Raises:
        ConfigError: a launcher that needs a GPU, without one; no launcher, where a strategy needs one.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' and needs_launcher(cfg):
        raise ConfigError(f"strategy {cfg['strategy']['type']!r} needs a launcher, for one process too: "
                          'bash tools/dist_train.sh CONFIG 1')
    if launcher == 'none' or get_device() != 'cpu':
        return
    if launcher != 'pytorch':
        raise ConfigError(f'--launcher {launcher} needs a GPU in this project; on a CPU use tools/dist_train.sh, '
                          'which launches with torchrun (--launcher pytorch).')
    if not distributed.is_initialized():
        distributed.init_process_group('gloo')
    if is_flexible(cfg):  # its strategies find the device
        return
    cfg['model_wrapper_cfg'] = dict(
        dict(type='MMDistributedDataParallel', broadcast_buffers=False,
             find_unused_parameters=cfg.get('find_unused_parameters', False)),
        **{**(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None})
