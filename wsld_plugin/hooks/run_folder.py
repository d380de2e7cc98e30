"""The folder of a run: its checkpoints, its lock, and what an earlier process left in it."""
from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from wsld_plugin.compat.safe_checkpoints import safe_load
from wsld_plugin.errors import CheckpointError, ConfigError
from wsld_plugin.files import locked, remove_temporary

_CHECKPOINT = re.compile(r'^(epoch|iter)_(\d+)\.pth$')


def checkpoints(work_dir: str | Path) -> list[Path]:
    """The checkpoints from which a run can be resumed, the one written last first.

    The file ``last_checkpoint`` names it. If that is missing, damaged or names a file that does not exist, as in a
    folder that was moved, the times of the files count.
    """
    work_dir = Path(work_dir)
    found = [path for path in work_dir.glob('*.pth') if _CHECKPOINT.match(path.name) and path.is_file()]
    pointer = work_dir / 'last_checkpoint'
    named = Path(pointer.read_text(errors='replace').strip()).name if pointer.is_file() else ''
    return sorted(found, key=lambda path: (path.name == named, path.stat().st_mtime_ns, _number(path)), reverse=True)


def _number(path: Path) -> int:
    return int(path.stem.split('_')[1])


def newest_whole(work_dir: str | Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of a run that can be read, and its ``meta``; None if the run has none.

    Those that are damaged, as by a crash of the machine, are skipped, with a line in the log.

    Raises:
        CheckpointError: there are checkpoints, and none can be resumed.
    """
    error = None
    for path in checkpoints(work_dir):
        try:
            return path, check_resumable(path)
        except CheckpointError as found:
            error = error or found
            print_log(f'--resume skips {path}: {found}', logger='current')
    if error is not None:
        raise error
    return None


def check_resumable(path: Path) -> dict[str, Any]:
    """The ``meta`` of a checkpoint. CheckpointError unless the file is a whole checkpoint of a training."""
    checkpoint = safe_load(path)
    missing = {'state_dict', 'optimizer', 'message_hub', 'meta'} - (checkpoint.keys() if isinstance(checkpoint, dict)
                                                                    else set())
    if missing:
        raise CheckpointError(f'--resume {path}: it has no {" and no ".join(sorted(missing))}, so it cannot be '
                              'resumed. Name a checkpoint of training, such as epoch_<n>.pth; to start from these '
                              f'weights instead, --cfg-options load_from={path}.')
    return checkpoint['meta']


def refuse_to_overwrite(work_dir: str | Path) -> None:
    """Raise ConfigError if the folder of a new run holds checkpoints or the exported student of an earlier one."""
    resumable = checkpoints(work_dir)
    found = [*resumable, *sorted(Path(work_dir).glob('*.pth'))]
    if found:
        ways = 'Continue that run with --resume, or start' if resumable else 'Start'
        raise ConfigError(f'{work_dir} already holds a trained model ({found[0].name}), and a new run would '
                          f'overwrite it. {ways} a new one with --work-dir ANOTHER.')


@contextmanager
def occupied(work_dir: str | Path, resume: bool) -> Iterator[None]:
    """Lock the folder of a run while it trains, and clear what a killed process left there.

    Temporary files of unfinished writes are removed. If the folder has ``.pth`` files but none can be resumed, as
    after a kill between the first best checkpoint and the first regular one, they are moved to ``interrupted_<n>``.

    Args:
        work_dir: the folder; created if it does not exist.
        resume: False: the folder has to be empty of checkpoints.

    Raises:
        ConfigError: another process trains there; a new run would overwrite a model.
    """
    work_dir = Path(work_dir)
    owner = json.dumps(dict(pid=os.getpid(), host=socket.gethostname(),
                            start=datetime.now().isoformat(' ', 'seconds')))
    with locked(work_dir / '.training', owner) as other:
        if other is not None:
            who = ', '.join(f'{name} {value}' for name, value in json.loads(other or '{}').items())
            raise ConfigError(f'{work_dir} is in use by another training ({who or "which has just started"}), whose '
                              'results would be overwritten. Wait for its end, or choose another --work-dir.')
        if not resume:
            refuse_to_overwrite(work_dir)
        elif not checkpoints(work_dir):
            _set_aside(work_dir)
        remove_temporary(work_dir)
        yield


def _set_aside(work_dir: Path) -> None:
    left = sorted(work_dir.glob('*.pth'))
    if left:
        folder = work_dir / f'interrupted_{1 + len(list(work_dir.glob("interrupted_*")))}'
        folder.mkdir()
        for path in left:
            path.rename(folder / path.name)
        print_log(f'{work_dir} holds no checkpoint that can be resumed: the run starts from the beginning. What it '
                  f'had ({", ".join(path.name for path in left)}) is now in {folder}.', logger='current')
