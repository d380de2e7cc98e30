"""Running the tools as a user does: real processes, real command lines."""
from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def run(*command: Any, check: bool = True, timeout: float = 600, **environment: str,
        ) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository's root; fail with its output unless ``check`` is False.

    One that takes longer than ``timeout`` seconds fails too: all its processes print where they are, and end.
    """
    process = start(*command, stderr=subprocess.PIPE, PYTHONFAULTHANDLER='1', **environment)
    late = ''
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        late = f' after more than {timeout} s'
        kill_all(signal.SIGABRT, process.pid)
        stdout, stderr = process.communicate(timeout=60)
    except BaseException:
        kill_all(signal.SIGKILL, process.pid)
        raise
    if late or (check and process.returncode):
        ends = f'{stdout[-3000:]}\n{stderr[-8000 if late else -3000:]}'
        raise AssertionError(f'{command} exited with {process.returncode}{late}:\n{ends}')
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def start(*command: Any, stderr: int = subprocess.STDOUT, **environment: str) -> subprocess.Popen[str]:
    """Start a command in the repository's root."""
    return subprocess.Popen([str(part) for part in command], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                            stderr=stderr, env=_environment(environment))


def tool(name: str, *arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``tools/<name>`` with this interpreter, or with bash."""
    return run('bash' if name.endswith('.sh') else sys.executable, f'tools/{name}', *arguments, **options)


def _environment(more: dict[str, str]) -> dict[str, str]:
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable,
            'PYTHONPATH': str(ROOT / 'tests'), **more}


def children(pid: int) -> list[int]:
    """The processes that a process has started and that run."""
    found = []
    for path in Path('/proc').glob(f'{pid}/task/*/children'):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
            found += [int(child) for child in path.read_text().split()]
    return found


def kill_all(number: int, pid: int) -> None:
    """Send a signal to a process and all below it, in sessions of their own too, as torchrun's are."""
    for child in children(pid):
        kill_all(number, child)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
