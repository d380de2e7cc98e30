"""Load every checkpoint without executing anything in it.

Cause: a checkpoint is a pickle, and a pickle is a program. mmengine leaves ``torch.load`` to its default,
which refuses the log history in mmengine's own checkpoints, so that resuming fails; its downloads go through
``torch.hub``, whose default executes them; the maintained fork loads a file that was refused once more with
``weights_only=False``. ``Runner.resume`` then executes the text in ``meta['config']``.

Never idle: the original never asks for ``weights_only=True``, and the fork does not keep to it. All loaders
of ``mmengine.runner`` are covered (local, http, torchvision, open-mmlab, mmcls, ceph, pavi): they read files
through the names replaced here.
``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD`` does not undo it: PyTorch lets that variable change its default only.
"""
from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import IO, Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from mmengine.runner import checkpoint as loaders

from wsld_plugin.compat.allowed_globals import ALLOWED, only_allowed
from wsld_plugin.errors import CheckpointError, did_you_mean


def apply() -> None:
    """Replace what mmengine's loaders read files with, and let ``torch.load`` read mmengine's log history."""
    torch.serialization.add_safe_globals(ALLOWED)
    loaders.torch = _TORCH
    loaders.load_url = load_url


def safe_load(file: str | os.PathLike[str] | IO[bytes], map_location: Any = 'cpu') -> Any:
    """What a checkpoint holds: tensors, numbers, text, containers and mmengine's log history.

    ``meta['config']`` is left out: ``Runner.resume`` would execute it, to check GPU ids that configs no
    longer have. ``meta['cfg']`` and the message hub's ``cfg`` stay. Training only shows them; they are
    executed by an mmengine ``BaseInferencer`` that is given no config, and by MMRazor's ``RuntimeInfo``.

    Args:
        file: a path (``~`` is expanded), or an open binary file.
        map_location: where the tensors go, as for ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file; mmengine's loader raises the same.
        CheckpointError: the file is cut short, damaged or no checkpoint; or it holds anything else than the
            above, and nothing of it was executed.
    """
    if isinstance(file, (str, os.PathLike)):
        file = Path(file).expanduser()
        _check_exists(file)
        name = f'Checkpoint {file} ({file.stat().st_size:,} bytes)'
    else:
        name = 'The checkpoint'
    with only_allowed(), _explained(name):
        checkpoint = torch.load(file, map_location=map_location, weights_only=True)
    return _without_config(checkpoint, name)


def load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> Any:
    """:func:`safe_load` of a download, kept in ``model_dir`` (by default that of ``torch.hub``)."""
    folder = Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints'))
    file = folder / Path(urlparse(url).path).name
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print_log(f'Downloading {url} to {file}', logger='current')
        try:
            torch.hub.download_url_to_file(url, str(file), progress=progress)
        except URLError as error:
            raise CheckpointError(f'{url} cannot be downloaded ({error.reason}). Download it where the network '
                                  f'allows it, and name the file instead of the URL.') from error
    return safe_load(file, map_location)


def _load(file: Any, map_location: Any = None, **_: Any) -> Any:
    return safe_load(file, map_location)


class _Torch(ModuleType):
    """``torch`` as mmengine's loaders see it: all of it, but ``load``, which heeds no ``weights_only``."""

    load = staticmethod(_load)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


_TORCH = _Torch('torch')


def _check_exists(file: Path) -> None:
    if file.is_file():
        return
    if file.is_dir():
        raise FileNotFoundError(f'{file} is a folder, not a checkpoint; name a file in it.')
    beside = (path.name for path in file.parent.iterdir()) if file.parent.is_dir() else ()
    raise FileNotFoundError(f'There is no checkpoint {file.absolute()}.{did_you_mean(file.name, beside)}')


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say what ``torch.load`` failed on and what to do in place of its ``weights_only=False``."""
    try:
        yield
    except (MemoryError, PermissionError, torch.OutOfMemoryError):
        raise
    except UnpicklingError as error:
        if 'Unsupported operand' in str(error):
            raise _unreadable(name, 'torch.save writes no such pickle') from None
        raise CheckpointError(
            f'{name} was refused; nothing in it was executed. It holds code, or a type that is no part of '
            f'a model: {_refused(error)}. Use a file that holds weights alone, as torch.save('
            'model.state_dict(), path) writes it. A type of your own can be allowed with '
            'torch.serialization.add_safe_globals.'
        ) from None
    except Exception as error:
        text = str(error)
        if 'map_location' in text or 'CUDA' in text:  # the device's fault, not the file's
            raise
        raise _unreadable(name, re.split(r'\. |\n', text)[0] or type(error).__name__) from error


def _unreadable(name: str, why: str) -> CheckpointError:
    return CheckpointError(
        f'{name} cannot be read: it was cut short or damaged, or is not a checkpoint ({why}). '
        'Copy it again, or delete it and download it again.')


def _refused(error: UnpicklingError) -> str:
    said = str(error).split('\n\nCheck the documentation')[0]
    named = re.search(r'GLOBAL (\S+)', said)
    return named[1] if named else said.splitlines()[-1]


def _without_config(checkpoint: Any, name: str) -> Any:
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict) and meta.pop('config', None) is not None:
        print_log(f"{name}: left out meta['config'], which mmengine would execute", logger='current')
    return checkpoint
