"""Learning from soft labels with OpenMMLab: a teacher, a connector, a loss.

Importing the package applies :mod:`wsld_plugin.compat` and registers every part of it under the scope
``wsld_plugin``. It starts nothing and changes nothing else.
"""
# ruff: noqa: E402  compat has to run before anything imports MMRazor
from .compat import apply as _apply_compat
from .version import __version__

_apply_compat()

from . import algorithm, connectors, datasets, engine, hooks, losses, models, soft_labels, teachers

__all__ = [
    '__version__',
    'losses',
    'connectors',
    'teachers',
    'models',
    'algorithm',
    'soft_labels',
    'datasets',
    'hooks',
    'engine',
]
