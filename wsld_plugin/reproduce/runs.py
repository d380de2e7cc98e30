"""Training runs in processes of their own: started side by side, resumed, never repeated."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wsld_plugin.engine.atomic import write_atomically
from wsld_plugin.errors import RunError

_TRAIN = Path(__file__).parents[2] / 'tools/train.py'


@dataclass(frozen=True)
class Run:
    """One call of ``tools/train.py``.

    Args:
        method: the row of the table it counts for.
        seed: of the initial weights and the order of the data.
        config: path of the config.
        work_dir: its folder.
        options: what ``--cfg-options`` replaces, beside the seed.
    """

    method: str
    seed: int
    config: Path
    work_dir: Path
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f'{self.method}, seed {self.seed}'


@dataclass(frozen=True)
class Result:
    """What a finished run came to: accuracies in percent of the validation set, and its wall time."""

    method: str
    seed: int
    last_accuracy: float
    best_accuracy: float
    seconds: float
    curve: list[tuple[int, float]] = field(default_factory=list)


def train_run(run: Run) -> Result:
    """Train in a new process, or read the result of a run that is finished; continue an interrupted one.

    Its output goes to ``train.log`` in its folder. The process uses one thread, so that runs
    side by side do not fight for the cores.

    Raises:
        RunError: the process failed or validated nothing.
    """
    finished = run.work_dir / 'result.json'
    if finished.is_file():
        return Result(**json.loads(finished.read_text()))
    run.work_dir.mkdir(parents=True, exist_ok=True)
    log = run.work_dir / 'train.log'
    command = [sys.executable, str(_TRAIN), str(run.config), '--work-dir', str(run.work_dir), '--resume',
               '--cfg-options', f'randomness.seed={run.seed}', *run.options]
    start = time.perf_counter()
    with log.open('a') as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False,
                              env={**os.environ, 'OMP_NUM_THREADS': '1'}).returncode
    seconds = time.perf_counter() - start
    curve = accuracy_curve(run.work_dir)
    if code or not curve:
        raise RunError(f'{run} failed (exit status {code}); its log is {log}:\n' + _tail(log))
    accuracies = [accuracy for _, accuracy in curve]
    result = Result(run.method, run.seed, accuracies[-1], max(accuracies), seconds, curve)
    write_atomically(finished, json.dumps(asdict(result)).encode())
    return result


def train_all(runs: Iterable[Run], jobs: int, on_done: Callable[[Result], None]) -> list[Result]:
    """Train runs that do not depend on each other, ``jobs`` at a time.

    A failed run does not stop the others.

    Returns:
        Their results, in the order of the runs.

    Raises:
        RunError: when all are over, if any failed.
    """
    runs = list(runs)
    results, errors = {}, []
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(train_run, run): run for run in runs}
        for future in as_completed(futures):
            try:
                results[futures[future]] = future.result()
            except RunError as error:
                errors.append(str(error))
            else:
                on_done(future.result())
    if errors:
        raise RunError('\n'.join(errors))
    return [results[run] for run in runs]


def accuracy_curve(work_dir: Path) -> list[tuple[int, float]]:
    """(epoch, top-1 accuracy in percent) of every validation, over all starts of a run."""
    points = {}
    for log in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in log.read_text().splitlines():
            record = json.loads(line)
            if 'accuracy/top1' in record:
                points[int(record['step'])] = float(record['accuracy/top1'])
    return sorted(points.items())


def _tail(log: Path, lines: int = 8) -> str:
    return '\n'.join('    ' + line for line in log.read_text(errors='replace').splitlines()[-lines:])
