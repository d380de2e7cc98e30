"""Let MMRazor be imported beside an MMCV newer than the one it was released with.

Cause: MMRazor 1.0.0 asserts ``mmcv.__version__ <= '2.1.0'`` when it is first imported, and the maintained
fork is numbered 2.3. Nothing that distillation uses of MMCV has changed in between.

Idle where the version is in range, or MMRazor is imported already.
"""
import importlib
import sys

_NEWEST_ACCEPTED = '2.1.0'


def apply() -> None:
    """Import MMRazor while MMCV gives the newest version that it accepts; MMCV's own is put back."""
    if 'mmrazor' in sys.modules:
        return
    import mmcv
    from mmengine.utils import digit_version

    version = mmcv.__version__
    if digit_version(version) <= digit_version(_NEWEST_ACCEPTED):
        return
    mmcv.__version__ = _NEWEST_ACCEPTED
    try:
        importlib.import_module('mmrazor')
    finally:
        mmcv.__version__ = version
