"""Many runs side by side, teachers before their students."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from wsld_plugin.errors import RunError

from .runs import Result, Run, stop_all, train_run

Outcome = Result | Exception


def train_all(runs: Iterable[Run], jobs: int, on_change: Callable[[Run, Outcome], None],
              on_wait: Callable[[list[Run]], None]) -> dict[Run, Outcome]:
    """Train runs and everything that they need, each once, ``jobs`` at a time.

    A failed run does not stop the others; those that need it are not started. When this function is left
    early (Ctrl-C), the runs in progress are ended; they resume when it is called again.

    Args:
        runs: what is wanted.
        jobs: processes side by side, ≥ 1; each has its share of the machine's cores.
        on_change: called in this thread for every run that ended, with what came of it.
        on_wait: called about once a second with the runs in progress.

    Returns:
        A result, or the error, for each run and each run that one needs.
    """
    waiting = with_needs(runs)
    outcomes: dict[Run, Outcome] = {}
    running: dict[Future[Result], Run] = {}
    threads = max((os.cpu_count() or 1) // jobs, 1)
    pool = ThreadPoolExecutor(jobs)
    try:
        while waiting or running:
            for run in list(waiting):  # in an order in which a failure is passed on to all that need it
                failed = next((need for need in run.needs if isinstance(outcomes.get(need), Exception)), None)
                if failed:
                    waiting.remove(run)
                    outcomes[run] = RunError(f'{run} was not started: it needs {failed}, which failed.')
                    on_change(run, outcomes[run])
            ready = [run for run in waiting if all(need in outcomes for need in run.needs)]
            for run in ready[:jobs - len(running)]:
                waiting.remove(run)
                running[pool.submit(train_run, run, threads)] = run
            ended, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            for future in ended:
                run = running.pop(future)
                error = future.exception()
                outcomes[run] = error if isinstance(error, Exception) else future.result()
                on_change(run, outcomes[run])
            on_wait(list(running.values()))
    finally:
        stop_all()
        pool.shutdown()
    return outcomes


def with_needs(runs: Iterable[Run]) -> list[Run]:
    """Each run once, after those that it needs."""
    ordered: dict[Run, None] = {}
    for run in runs:
        ordered.update(dict.fromkeys(with_needs(run.needs)))
        ordered[run] = None
    return list(ordered)
