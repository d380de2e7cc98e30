"""The folder of a report."""
from __future__ import annotations

import json
from pathlib import Path

from wsld_plugin.errors import ConfigError
from wsld_plugin.files import check_writable

PAGE, NUMBERS = 'index.html', 'report.json'


def check_folder(folder: Path) -> None:
    """Refuse a folder that a report cannot be written to, or that holds files of these names which are no report's.

    An earlier report may be replaced.

    Raises:
        ConfigError: what is in the way.
    """
    check_writable(folder)
    present = [name for name in (PAGE, NUMBERS) if (folder / name).exists()]
    if present and not _is_report(folder):
        raise ConfigError(f'{folder} holds {" and ".join(present)}, and no report of this tool: nothing is replaced. '
                          'Give another folder as --out, or move what is there away.')


def _is_report(folder: Path) -> bool:
    try:
        numbers = json.loads((folder / NUMBERS).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(numbers, dict) and {'verdict', 'settings', 'k'} <= set(numbers) and not (folder / PAGE).is_dir()
