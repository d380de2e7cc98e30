"""Running the tools as a user does: real processes, real command lines."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def run(*command: Any, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository's root; fail with its output unless ``check`` is False."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, text=True, capture_output=True, check=False,
                          env=_environment(environment))
    if check and done.returncode:
        ends = f'{done.stdout[-3000:]}\n{done.stderr[-3000:]}'
        raise AssertionError(f'{command} exited with {done.returncode}:\n{ends}')
    return done


def start(*command: Any, **environment: str) -> subprocess.Popen[str]:
    """Start a command in the repository's root."""
    return subprocess.Popen([str(part) for part in command], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env=_environment(environment))


def tool(name: str, *arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``tools/<name>`` with this interpreter, or with bash."""
    return run('bash' if name.endswith('.sh') else sys.executable, f'tools/{name}', *arguments, **options)


def _environment(more: dict[str, str]) -> dict[str, str]:
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable,
            'PYTHONPATH': str(ROOT / 'tests'), **more}
