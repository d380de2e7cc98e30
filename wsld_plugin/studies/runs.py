"""Training runs, each in its own process: started or resumed, and not repeated once they are finished."""
from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from shutil import get_terminal_size
from statistics import median

import torch

from wsld_plugin.errors import RunError
from wsld_plugin.files import write_atomically

_TRAIN = Path(__file__).parents[2] / 'tools/train.py'
_PROGRESS_INTERVAL = 60.0  # seconds between two lines where the output is not a terminal
_PROCESSES: set[subprocess.Popen] = set()  # those of runs in progress


@dataclass(frozen=True)
class Run:
    """One call of ``tools/train.py``.

    Args:
        config, seed, work_dir: the arguments of the call.
        options: the values of ``--cfg-options`` besides the seed.
        needs: the runs of its teachers, whose checkpoints it reads.
        settings: fingerprint of all settings, its teachers' included; see :func:`train_run`.
        epochs, variant: the number of epochs, and options of this run, for messages.
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
    """The result of a finished run: top-1 accuracies on the validation set in percent, and the time of training.

    ``curve`` has (epoch, accuracy) of every validation; ``machine`` is the hardware and versions of the last start.
    """

    seed: int
    last_accuracy: float
    best_accuracy: float
    seconds: float
    machine: str
    curve: list[tuple[int, float]] = field(default_factory=list)


def finished(run: Run) -> Result | None:
    """The result of a run, None if it is not finished; RunError if its folder holds a run with other settings."""
    settings, result = run.work_dir / 'settings', run.work_dir / 'result.json'
    if settings.is_file() and settings.read_text() != run.settings:
        raise RunError(f'{run}: {run.work_dir} was trained with other settings than the config has now. Move the '
                       'folder away, undo the change, or give another --work-dir.')
    return Result(**json.loads(result.read_text())) if result.is_file() else None


def train_run(run: Run, threads: int = 1) -> Result:
    """Train in a new process, or read the result if the run is finished. An interrupted run is resumed.

    The output is written to ``train.log``, and the fingerprint of the settings to ``settings``, so that a result is
    not used after the config has changed. ``threads`` are the CPU threads of the process.

    Raises:
        RunError: the process failed or validated nothing; another process trains this run; as :func:`finished`.
    """
    folder = run.work_dir
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / '.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f'{run} is being trained by another process in {folder}.') from None
        result = finished(run)
        if result:
            return result
        write_atomically(folder / 'settings', run.settings.encode())
        log = folder / 'train.log'
        command = [sys.executable, str(_TRAIN), str(run.config), '--work-dir', str(folder), '--resume',
                   '--cfg-options', f'randomness.seed={run.seed}', *run.options]
        with log.open('a') as out, subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, 'OMP_NUM_THREADS': str(threads)},
                pass_fds=[lock.fileno()]) as process:  # the child keeps the lock when this process is killed
            _PROCESSES.add(process)
            process.wait()
        _PROCESSES.discard(process)
        curve = accuracy_curve(folder)
        if process.returncode or not curve:
            tail = '\n'.join('    ' + line for line in log.read_text(errors='replace').splitlines()[-8:])
            raise RunError(f'{run} failed (exit status {process.returncode}); its log is {log}:\n{tail}')
        accuracies = [accuracy for _, accuracy in curve]
        result = Result(run.seed, accuracies[-1], max(accuracies), training_seconds(folder), machine(), curve)
        write_atomically(folder / 'result.json', json.dumps(asdict(result)).encode())
        return result


def accuracy_curve(work_dir: Path) -> list[tuple[int, float]]:
    """(epoch, top-1 accuracy in percent) of every validation, over all starts of a run."""
    return sorted({int(record['step']): float(record['accuracy/top1']) for record in _records(work_dir)
                   if 'accuracy/top1' in record}.items())


def training_seconds(work_dir: Path) -> float:
    """The sum of the logged times of all iterations; of a repeated iteration only the last time.

    Times longer than three times the median, as of a suspended process, count as the median.
    """
    times = {int(record['step']): float(record['time']) for record in _records(work_dir)
             if 'iter' in record and 'time' in record}
    usual, steps = median(times.values() or [0.]), sorted(times)
    return sum((step - before) * (times[step] if times[step] <= 3 * usual else usual)
               for before, step in zip([0, *steps], steps, strict=False))


def current_epoch(work_dir: Path) -> int:
    """The epoch, 1-based, that a run logged last; 0 before the first log line."""
    records = _records(work_dir, slice(-1, None))
    return next((int(record['epoch']) for record in reversed(records) if 'epoch' in record), 0)


def _records(work_dir: Path, starts: slice = slice(None)) -> list[dict]:
    """The logged scalars of the starts of a run; the last line of a log may be incomplete."""
    return [json.loads(line) for log in sorted(work_dir.glob('*/vis_data/scalars.json'))[starts]
            for line in log.read_text().splitlines() if line.endswith('}')]


def machine() -> str:
    """The hardware and the versions, for a report."""
    info = Path('/proc/cpuinfo')
    names = re.findall(r'^model name\s*:(.*)$', info.read_text() if info.is_file() else '', re.MULTILINE)
    device = f'{len(names)} × {names[0].strip()}' if names else platform.processor() or platform.machine()
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    return f'{device}, Python {platform.python_version()}, torch {torch.__version__}'


def train_missing(title: str, runs: Iterable[Sequence[Run]], work_dir: Path, jobs: int) -> RunError | None:
    """Train the runs that are not finished, and the runs that they need; return the error of the failed ones.

    ``runs`` has a sequence for each cell. The first runs of all cells are trained first, then the second ones, so
    that a whole table of few seeds is available early.
    """
    work_dir.mkdir(parents=True, exist_ok=True)  # fails here, before training
    wanted = list(filter(None, dict.fromkeys(chain(*zip_longest(*runs)))))
    missing = [run for run in wanted if not finished(run)]
    if not missing:
        return None
    print(f'{title}\n{len(wanted) - len(missing)} of {len(wanted)} runs are finished; training the others and '
          f'the runs that they need in {work_dir}, {jobs} at a time.', flush=True)
    errors = [str(outcome) for outcome in train_all(missing, jobs).values() if isinstance(outcome, Exception)]
    return RunError('\n'.join([f'{len(errors)} runs failed:', *errors])) if errors else None


def train_all(runs: Iterable[Run], jobs: int) -> dict[Run, Result | Exception]:
    """Train runs and everything that they need, each once, in ``jobs`` processes that share the CPU cores.

    The progress is printed. A failed run does not stop the others; the runs that need it are not started. An
    exception such as Ctrl-C ends the runs in progress; they resume in the next call. Returns the result or error of
    each run, in the order in which they ended.
    """
    waiting = with_needs(runs)
    progress = _Progress(len(waiting))
    outcomes = progress.outcomes
    running: dict[Future[Result], Run] = {}
    threads = int(os.environ.get('OMP_NUM_THREADS') or max((os.cpu_count() or 1) // jobs, 1))
    pool = ThreadPoolExecutor(jobs)
    try:
        while waiting or running:
            for run in list(waiting):  # needed runs come first, so a failure reaches all that depend on it
                failed = next((need for need in run.needs if isinstance(outcomes.get(need), Exception)), None)
                if failed:
                    waiting.remove(run)
                    progress.ended(run, RunError(f'{run} was not started: it needs {failed}, which failed.'))
            ready = [run for run in waiting if all(need in outcomes for need in run.needs)]
            for run in ready[:jobs - len(running)]:
                waiting.remove(run)
                running[pool.submit(train_run, run, threads)] = run
            ended, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            for future in ended:
                error = future.exception()
                progress.ended(running.pop(future), error if isinstance(error, Exception) else future.result())
            progress.going_on(running.values())
    finally:
        for process in list(_PROCESSES):
            process.terminate()
        pool.shutdown()
    return outcomes


def with_needs(runs: Iterable[Run]) -> list[Run]:
    """Each run once, after those that it needs."""
    return list(dict.fromkeys(each for run in runs for each in [*with_needs(run.needs), run]))


class _Progress:
    """Prints a line for each run that ended, and a line of the runs in progress, which is rewritten on a terminal."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.outcomes: dict[Run, Result | Exception] = {}
        self._start = self._last = time.monotonic()
        self._terminal = sys.stdout.isatty()

    def ended(self, run: Run, outcome: Result | Exception) -> None:
        self.outcomes[run] = outcome
        result = f'{outcome.last_accuracy:.2f} %' if isinstance(outcome, Result) else f'FAILED\n{outcome}'
        self._print(f'[{len(self.outcomes):{len(str(self.total))}}/{self.total}] ', f'{run}: {result}')

    def going_on(self, runs: Iterable[Run]) -> None:
        if self._terminal or time.monotonic() - self._last >= _PROGRESS_INTERVAL:
            self._last = time.monotonic()
            text = '; '.join(f'{run}: epoch {current_epoch(run.work_dir)}/{run.epochs}' for run in runs)
            self._print('      ', text, get_terminal_size().columns - 1 if self._terminal else None)

    def _print(self, head: str, text: str, width: int | None = None) -> None:
        line = f'{head}{time.monotonic() - self._start:5.0f} s  {text}'[:width]
        print(f'\r\x1b[K{line}' if self._terminal else line, end='' if width else '\n', flush=True)
