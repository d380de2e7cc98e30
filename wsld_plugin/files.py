"""Atomic file writes, locks, and checks before work starts that a file can be written."""
from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.fileio import LocalBackend, register_backend

from .errors import ConfigError, WriteError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ATOMIC_BACKEND = 'wsld_plugin.atomic'
_TEMPORARY = re.compile(r'\..+\.\w{8}\.tmp')


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that neither a reader nor a crash ever sees a part of it.

    The bytes are written to a temporary file in the same folder, flushed to the disk, and renamed in one step.
    Missing folders are created. An error, such as a full disk, keeps the old file and removes the temporary one.

    Raises:
        WriteError: the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f'.{path.name}.', suffix='.tmp', dir=path.parent)
    try:
        with os.fdopen(descriptor, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        free = shutil.disk_usage(path.parent).free
        raise WriteError(f'{path} cannot be written ({error.strerror}): it needs {len(data):,} bytes, and {free:,} '
                         'are free there. What was written before is kept. Free some space, and run the command '
                         'again; a training continues with --resume.') from error


def to_json(value: Any) -> bytes:
    """JSON with an indent, in which tensors, arrays and numpy's numbers are lists and numbers."""
    return (json.dumps(value, indent=2, default=lambda each: each.tolist()) + '\n').encode()


def from_json(text: str) -> Any:
    """The value of a JSON text. RecursionError if it is nested deeply, for which Python's own scanner may crash."""
    decoder = json.JSONDecoder()
    decoder.scan_once = py_make_scanner(decoder)  # type: ignore[attr-defined]
    return decoder.decode(text)


def remove_temporary(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files of `write_atomically` that a killed process left in a folder."""
    for path in Path(folder).glob('.*'):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


@contextmanager
def locked(path: str | os.PathLike[str], owner: str = '') -> Iterator[str | None]:
    """Hold an exclusive lock on a file, which the system releases however the process ends.

    Args:
        path: the file, which is created with its folders, and stays.
        owner: text for other processes that try the lock.

    Yields:
        None while the lock is held; the text of its owner if another process holds it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            yield file.read()
            return
        file.truncate(0)
        file.write(owner)
        file.flush()
        yield None


def save_figure(figure: Figure, path: str | Path, dpi: int = 140) -> None:
    """Write a pyplot figure as a PNG of ``dpi`` pixels per inch with :func:`write_atomically`, and close it."""
    from matplotlib import pyplot
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=dpi)
    pyplot.close(figure)
    write_atomically(path, buffer.getvalue())


def check_writable(folder: str | Path) -> None:
    """Raise ConfigError unless files can be written into a folder, or into its nearest parent that exists.

    Nothing is created.
    """
    folder = Path(folder)
    found = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not found.is_dir():
        raise ConfigError(f'{folder}: {found} is a file, but a folder is expected. Give another one as --out.')
    try:
        tempfile.TemporaryFile(dir=found).close()
    except OSError as error:
        raise ConfigError(f'{folder}: cannot write to {found} ({error.strerror}). Give another folder as '
                          '--out.') from error


def check_picture(path: str | Path, example: str) -> None:
    """Raise ConfigError unless ``path`` ends in ``.png`` and its folder can be written to.

    The message names the file ``example`` in a ``path`` that is a folder.
    """
    path = Path(path)
    if path.suffix.lower() != '.png' or path.is_dir():
        better = path / example if path.is_dir() else path.with_suffix('.png')
        raise ConfigError(f'--out {path}: expected a PNG file, such as {better}.')
    check_writable(path.parent)


@register_backend(ATOMIC_BACKEND)
class AtomicLocalBackend(LocalBackend):
    """mmengine's local files, written atomically."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; see :func:`write_atomically`."""
        write_atomically(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; see :func:`write_atomically`."""
        write_atomically(filepath, obj.encode(encoding))
