"""What a table's runs are doing, while they do it."""
from __future__ import annotations

import sys
import time

from .pool import Outcome
from .runs import Result, Run, current_epoch

_EVERY = 60.0  # seconds between two lines where there is no terminal to rewrite one


class Progress:
    """Prints a line for every run that ends, and keeps one about those in progress.

    On a terminal that line is rewritten every second; elsewhere it is printed once a minute.

    Args:
        total: how many runs there are.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self._start = self._last = time.monotonic()
        self._terminal = sys.stdout.isatty()

    def ended(self, run: Run, outcome: Outcome) -> None:
        """A run is over."""
        self.done += 1
        result = f'{outcome.last_accuracy:.2f} %' if isinstance(outcome, Result) else f'FAILED\n{outcome}'
        self._print(f'[{self.done:{len(str(self.total))}}/{self.total}] {self._seconds()}  {run}: {result}\n')

    def waiting(self, running: list[Run]) -> None:
        """Some time has gone by."""
        if not self._terminal and time.monotonic() - self._last < _EVERY:
            return
        self._last = time.monotonic()
        states = (f'{run}: epoch {current_epoch(run.work_dir)}/{run.epochs}' for run in running)
        text = f'      {self._seconds()}  {"; ".join(states)}'
        self._print(text[:self._columns()] if self._terminal else f'{text}\n')

    def _seconds(self) -> str:
        return f'{time.monotonic() - self._start:5.0f} s'

    def _print(self, text: str) -> None:
        sys.stdout.write(f'\r\x1b[K{text}' if self._terminal else text)
        sys.stdout.flush()

    @staticmethod
    def _columns() -> int:
        from shutil import get_terminal_size
        return get_terminal_size().columns - 1
