"""Format a config as text once, not each time that it is asked for.

Cause: mmengine 0.10 formats the whole config with yapf, about half a second, whenever it wants it as text: several
times at the start of a run and once for every checkpoint, though the config does not change any more.

Idle where mmengine does not format with yapf.
"""
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from mmengine.config import config


def apply() -> None:
    """Let mmengine remember the texts that it formatted last."""
    format_code = getattr(config, 'FormatCode', None)
    if format_code is not None and not hasattr(format_code, 'remembered'):
        config.FormatCode = _remembering(format_code)


def _remembering(format_code: Callable[..., Any]) -> Callable[..., Any]:
    @lru_cache(maxsize=32)
    def remembered(code: str, style: tuple[tuple[str, Any], ...], more: tuple[tuple[str, Any], ...]) -> Any:
        return format_code(code, style_config=dict(style), **dict(more))

    def format_once(code: str, style_config: Mapping[str, Any], **more: Any) -> Any:
        return remembered(code, tuple(style_config.items()), tuple(more.items()))
    format_once.remembered = remembered  # type: ignore[attr-defined]
    return format_once
