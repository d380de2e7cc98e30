"""What the command-line tools share."""
from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import DictAction

from wsld_plugin.errors import CheckpointError, ConfigError, NonFiniteLossError, RunError

from .launch import free_ended_runs

_TO_MEND = (ConfigError, CheckpointError, NonFiniteLossError, RunError, FileNotFoundError, FileExistsError,
            IsADirectoryError, NotADirectoryError, PermissionError)


def options_from(pairs: list[str] | None) -> dict[str, Any] | None:
    """``['a.b=1', 'c=[2,3]']`` as ``{'a.b': 1, 'c': [2, 3]}``, read as OpenMMLab reads ``--cfg-options``.

    Raises:
        ConfigError: a pair without ``=``.
    """
    for pair in pairs or []:
        if not pair.partition('=')[1]:
            raise ConfigError(f'--cfg-options {pair!r}: expected KEY=VALUE.')
    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='*', action=DictAction)
    return parser.parse_args(['--cfg-options', *pairs]).cfg_options if pairs else None


@contextmanager
def stop_with_reason(interrupted: str = 'Stopped.') -> Iterator[None]:
    """Print an error that is the user's to mend as a message, without a traceback, and exit with 1.

    Args:
        interrupted: what to say after Ctrl-C; the exit status is then 130, as a shell expects.
    """
    try:
        yield
        free_ended_runs()
    except _TO_MEND as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print(f'\n{interrupted}', file=sys.stderr)
        raise SystemExit(130) from None
