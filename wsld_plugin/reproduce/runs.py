"""Training runs in processes of their own: started, resumed, never repeated, never mistaken for another."""
from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import TextIO

from wsld_plugin.errors import RunError
from wsld_plugin.files import write_atomically
from wsld_plugin.hooks.checkpoint import newest_checkpoint

from .machine import machine

_TRAIN = Path(__file__).parents[2] / 'tools/train.py'


@dataclass(frozen=True)
class Run:
    """One call of ``tools/train.py``.

    Args:
        config: path of the config.
        seed: of the initial weights, the order of the data and its augmentation.
        work_dir: its folder.
        options: what ``--cfg-options`` replaces, beside the seed.
        needs: runs whose checkpoints it reads: its teachers'.
        settings: a fingerprint of everything that it is made of; see :func:`train_run`.
        epochs: how many it will have.
        variant: what tells it from other runs of the config, for the reader; equal runs may have it in other words.
    """

    config: Path
    seed: int
    work_dir: Path
    options: tuple[str, ...] = ()
    needs: tuple[Run, ...] = ()
    settings: str = ''
    epochs: int = 0
    variant: str = field(default='', compare=False)

    def __str__(self) -> str:
        return self.config.stem + (f' ({self.variant})' if self.variant else '') + f', seed {self.seed}'


@dataclass(frozen=True)
class Result:
    """What a finished run came to.

    Accuracies are top-1 on the validation set in percent. ``seconds`` is the sum of the logged times
    of its iterations, over all its starts; ``machine`` is where it ended.
    """

    seed: int
    last_accuracy: float
    best_accuracy: float
    seconds: float
    machine: str
    curve: list[tuple[int, float]] = field(default_factory=list)


def finished(run: Run) -> Result | None:
    """The result of a run that is over; None where it is not.

    Raises:
        RunError: the folder holds a run of other settings.
    """
    _check_settings(run)
    path = run.work_dir / 'result.json'
    return Result(**json.loads(path.read_text())) if path.is_file() else None


def train_run(run: Run, threads: int = 1) -> Result:
    """Train in a new process, or read the result of a run that is finished; continue an interrupted one.

    Where a run was interrupted before its first checkpoint of training, but after that of a best score, it starts
    from the beginning, and what there was is kept in ``interrupted_<n>``.

    The output goes to ``train.log`` in the run's folder. The file ``settings`` there keeps the fingerprint of
    what was trained, so that a result is never taken for that of a config that has changed since.

    Args:
        run: what to train.
        threads: of the CPU, so that runs side by side do not fight for its cores.

    Raises:
        RunError: the process failed or validated nothing; another process is at it; the folder holds a run of
            other settings.
    """
    with _locked(run) as lock:
        result = finished(run)
        if result:
            return result
        write_atomically(run.work_dir / 'settings', run.settings.encode())
        _set_aside(run.work_dir)
        code = _start(run, threads, lock)
        curve = accuracy_curve(run.work_dir)
        if code or not curve:
            log = run.work_dir / 'train.log'
            raise RunError(f'{run} failed (exit status {code}); its log is {log}:\n{_tail(log)}')
        accuracies = [accuracy for _, accuracy in curve]
        result = Result(run.seed, accuracies[-1], max(accuracies), training_seconds(run.work_dir), machine(), curve)
        write_atomically(run.work_dir / 'result.json', json.dumps(asdict(result)).encode())
        return result


def accuracy_curve(work_dir: Path) -> list[tuple[int, float]]:
    """(epoch, top-1 accuracy in percent) of every validation, over all starts of a run."""
    points = {}
    for log in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for record in _records(log):
            if 'accuracy/top1' in record:
                points[int(record['step'])] = float(record['accuracy/top1'])
    return sorted(points.items())


def training_seconds(work_dir: Path) -> float:
    """The times of all iterations that a run logged, summed; of what a later start repeats only the repetition.

    A stretch in which iterations took more than three times the median, as where the process was suspended, counts
    as the median.
    """
    times = {int(record['step']): float(record['time']) for log in sorted(work_dir.glob('*/vis_data/scalars.json'))
             for record in _records(log) if 'iter' in record and 'time' in record}
    if not times:
        return 0.
    usual = median(times.values())
    steps = sorted(times)
    return sum((step - before) * (times[step] if times[step] <= 3 * usual else usual)
               for before, step in zip([0, *steps], steps, strict=False))


def current_epoch(work_dir: Path) -> int:
    """The epoch, 1-based, that a run last logged; 0 where it has logged none."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    records = _records(logs[-1]) if logs else []
    return next((int(record['epoch']) for record in reversed(records) if 'epoch' in record), 0)


def _records(log: Path) -> list[dict]:
    """What was logged, without a last line that is being written or was cut short."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith('}')]


def _start(run: Run, threads: int, lock: TextIO) -> int:
    command = [sys.executable, str(_TRAIN), str(run.config), '--work-dir', str(run.work_dir), '--resume',
               '--cfg-options', f'randomness.seed={run.seed}', *run.options]
    with (run.work_dir / 'train.log').open('a') as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT,
                                   env={**os.environ, 'OMP_NUM_THREADS': str(threads)},
                                   pass_fds=[lock.fileno()])  # held while it lives, even where this one was killed
        _PROCESSES.add(process)
        try:
            return process.wait()
        finally:
            _PROCESSES.discard(process)


_PROCESSES: set[subprocess.Popen] = set()


def stop_all() -> None:
    """End every run that is being trained; each resumes from its last checkpoint when it is started again."""
    for process in list(_PROCESSES):
        process.terminate()


@contextmanager
def _locked(run: Run) -> Iterator[TextIO]:
    run.work_dir.mkdir(parents=True, exist_ok=True)
    with (run.work_dir / '.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f'{run} is being trained by another process in {run.work_dir}.') from None
        yield lock


def _check_settings(run: Run) -> None:
    path = run.work_dir / 'settings'
    if path.is_file() and path.read_text() != run.settings:
        raise RunError(f'{run}: {run.work_dir} was trained with other settings than the config has now. Move the '
                       'folder away, undo the change, or give another --work-dir.')


def _set_aside(work_dir: Path) -> None:
    left = list(work_dir.glob('*.pth'))
    if left and newest_checkpoint(work_dir) is None:
        folder = work_dir / f'interrupted_{1 + len(list(work_dir.glob("interrupted_*")))}'
        folder.mkdir()
        for path in left:
            path.rename(folder / path.name)


def _tail(log: Path, lines: int = 8) -> str:
    return '\n'.join('    ' + line for line in log.read_text(errors='replace').splitlines()[-lines:])
