"""Whether something can be written, before there is something to write."""
from __future__ import annotations

import tempfile
from pathlib import Path

from wsld_plugin.errors import ConfigError


def check_writable(folder: str | Path) -> None:
    """Refuse a folder that no file can be written into; nothing is left behind, nor made.

    Args:
        folder: need not exist; the nearest one above it that does is then tried.

    Raises:
        ConfigError: it, or what would be above it, is a file, or cannot be written to.
    """
    folder = Path(folder)
    found = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not found.is_dir():
        raise ConfigError(f'{folder}: {found} is a file, but a folder is expected. Give another one as --out.')
    try:
        tempfile.TemporaryFile(dir=found).close()
    except OSError as error:
        raise ConfigError(f'{folder}: nothing can be written to {found} ({error.strerror}). Give another folder as '
                          '--out.') from error


def check_picture(path: str | Path, name: str) -> None:
    """Refuse a file that no PNG can be written to.

    Args:
        path: of the file.
        name: such as a picture of this kind has, where a folder is given.

    Raises:
        ConfigError: it is no name of a PNG, or its folder cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() != '.png' or path.is_dir():
        such = path / name if path.is_dir() else path.with_suffix('.png')
        raise ConfigError(f'--out {path}: the picture is a PNG. Give the name of a file, such as {such}.')
    check_writable(path.parent)
