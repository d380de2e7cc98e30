"""Which checkpoint a run continues from, and which it must not overwrite."""
from __future__ import annotations

import re
from pathlib import Path

from wsld_plugin.errors import ConfigError

# In a checkpoint that is a folder, as DeepSpeed writes it: written last, so that where it is, all is.
WEIGHTS = 'weights.pth'
_CHECKPOINT = re.compile(r'^(epoch|iter)_(\d+)\.pth$')


def newest_checkpoint(work_dir: str | Path) -> Path | None:
    """The checkpoint to resume from: the one written last.

    ``last_checkpoint`` names it; where that is missing, damaged or names a file that is not there (the
    folder was moved, the run was killed while writing), the highest epoch or iteration counts.

    Args:
        work_dir: the run's folder.

    Returns:
        The file, or None where there is none.
    """
    work_dir = Path(work_dir)
    pointer = work_dir / 'last_checkpoint'
    if pointer.is_file():
        named = work_dir / Path(pointer.read_text().strip()).name
        if weights_of(named).is_file():
            return named
    found = [(int(match[2]), path) for path in work_dir.glob('*.pth')
             if (match := _CHECKPOINT.match(path.name)) and weights_of(path).is_file()]
    return max(found)[1] if found else None


def weights_of(checkpoint: str | Path) -> Path:
    """The file that holds a checkpoint's weights: the checkpoint itself, or one in it where it is a folder."""
    checkpoint = Path(checkpoint)
    return checkpoint / WEIGHTS if checkpoint.is_dir() else checkpoint


def refuse_to_overwrite(work_dir: str | Path) -> None:
    """Stop a new run that would write over what an earlier one trained, an exported student included.

    Raises:
        ConfigError: naming what is there and the ways on.
    """
    resumable = newest_checkpoint(work_dir)
    found = resumable or next(iter(sorted(Path(work_dir).glob('*.pth'))), None)
    if found is not None:
        ways = 'Continue that run with --resume, or start' if resumable else 'Start'
        raise ConfigError(f'{work_dir} already holds a trained model ({found.name}), and a new run would overwrite '
                          f'it. {ways} a new one with --work-dir ANOTHER.')
