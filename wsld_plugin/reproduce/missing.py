"""Training what of a plan is not there."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from wsld_plugin.errors import RunError

from .pool import train_all, with_needs
from .progress import Progress
from .runs import Run, finished


def train_missing(title: str, runs: Iterable[Sequence[Run]], work_dir: Path, jobs: int) -> list[str]:
    """Train the runs that are not finished, and what they need; the messages of those that failed.

    The first run of every sequence comes first, then the second ones, so that what is finished early is a whole table
    of few seeds.

    Args:
        title: of the plan, printed.
        runs: one sequence for each cell.
        work_dir: the folder of all runs, printed.
        jobs: runs side by side, ≥ 1.
    """
    work_dir.mkdir(parents=True, exist_ok=True)  # where that is not possible, nothing is to be trained
    wanted = list(filter(None, dict.fromkeys(chain(*zip_longest(*runs)))))
    missing = [run for run in wanted if not finished(run)]
    if not missing:
        return []
    progress = Progress(len(with_needs(missing)))
    print(f'{title}\n{len(wanted) - len(missing)} of {len(wanted)} runs are there; training the others and '
          f'what they need in {work_dir}, {jobs} at a time.', flush=True)
    outcomes = train_all(missing, jobs, progress.ended, progress.waiting)
    return [str(outcome) for outcome in outcomes.values() if isinstance(outcome, Exception)]


def check_none_failed(errors: Sequence[str]) -> None:
    """Raise :class:`RunError` with these messages, if there are any."""
    if errors:
        raise RunError(f'{len(errors)} runs failed:\n' + '\n'.join(errors))
