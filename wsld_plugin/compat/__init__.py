"""OpenMMLab on current PyTorch, and checkpoints that execute nothing."""
from importlib import import_module

from . import openmmlab
from .openmmlab import applied

__all__ = ['applied', 'apply']


def apply() -> None:
    """Apply every remedy that this environment needs; a second call changes nothing.

    Raises:
        ImportError: a package that only the user can install is missing or too old.
    """
    openmmlab.apply()
    import_module(f'{__name__}.safe_checkpoints').apply()  # imports mmengine, which may be missing
