"""Atomic file writes, and checks before work starts that a file can be written."""
from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.fileio import LocalBackend, register_backend

from .errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ATOMIC_BACKEND = 'wsld_plugin.atomic'


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that neither a reader nor a crash ever sees a part of it.

    The bytes are written to a temporary file in the same folder, flushed to the disk, and renamed in one step. An
    error, such as a full disk, keeps the old file and removes the temporary one.

    Args:
        path: the file; missing folders are created.
        data: the whole content.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f'.{path.name}.', dir=path.parent)
    try:
        with os.fdopen(descriptor, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save_figure(figure: Figure, path: str | Path, dpi: int = 140) -> None:
    """Write a pyplot figure as a PNG with :func:`write_atomically`, and close it.

    Args:
        figure: with its size in inches.
        path: the file; missing folders are created.
        dpi: pixels per inch.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib import pyplot
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=dpi)
    pyplot.close(figure)
    write_atomically(path, buffer.getvalue())


def check_writable(folder: str | Path) -> None:
    """Raise ConfigError unless files can be written into a folder. Nothing is created.

    Args:
        folder: need not exist; then the nearest existing parent is tried.

    Raises:
        ConfigError: the folder, or a parent of it, is a file or cannot be written to.
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
    """Raise ConfigError unless a PNG can be written to ``path``.

    Args:
        path: the file.
        example: a file name for the message when ``path`` is a folder.

    Raises:
        ConfigError: the name does not end in ``.png``, or its folder cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() != '.png' or path.is_dir():
        better = path / example if path.is_dir() else path.with_suffix('.png')
        raise ConfigError(f'--out {path}: expected a PNG file, such as {better}.')
    check_writable(path.parent)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@register_backend(ATOMIC_BACKEND)
class AtomicLocalBackend(LocalBackend):
    """mmengine's local files, written atomically."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; see :func:`write_atomically`."""
        write_atomically(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; see :func:`write_atomically`."""
        write_atomically(filepath, obj.encode(encoding))
