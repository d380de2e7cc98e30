"""On what results were made."""
from __future__ import annotations

import platform
from pathlib import Path

import torch


def machine() -> str:
    """The hardware and versions that results are made with, in a line."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu_name()
    return f'{device}, Python {platform.python_version()}, torch {torch.__version__}'


def _cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    names = [line.partition(':')[2].strip() for line in info.read_text().splitlines()
             if line.startswith('model name')] if info.is_file() else []
    return f'{len(names)} × {names[0]}' if names else platform.processor() or platform.machine()
