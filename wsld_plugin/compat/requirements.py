"""Say which extra to install when OpenMMLab is missing.

Cause: the originals and the maintained forks share their module names, so that neither can be a plain
requirement without overwriting the other. The choice is an extra, which may have been left out.

Idle where everything is importable and PyTorch is recent enough.
"""
from importlib.util import find_spec

_NEEDED = ('mmengine', 'mmcv', 'mmpretrain', 'mmrazor', 'joblib')  # MMRazor imports joblib undeclared
_OLDEST_TORCH = '2.6'  # the first whose allow-list for checkpoints takes names


def apply() -> None:
    """Raise ImportError that names what is missing and the command to install it."""
    import torch

    if torch.__version__ < _OLDEST_TORCH:
        raise ImportError(
            f'wsld_plugin needs torch >= {_OLDEST_TORCH} to load checkpoints without executing them, but '
            f"torch {torch.__version__} is installed. Run: pip install 'torch>={_OLDEST_TORCH}'")
    missing = [name for name in _NEEDED if not _importable(name)]
    if missing:
        raise ImportError(
            f'wsld_plugin needs {", ".join(missing)}, not installed here. Run one of\n'
            "    pip install 'wsld-plugin[openmmlab]'    the original OpenMMLab packages\n"
            "    pip install 'wsld-plugin[onedl]'        their maintained forks; "
            'choose these where onedl-* packages are installed already')


def _importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False
