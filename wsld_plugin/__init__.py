"""Learning from soft labels with OpenMMLab: a teacher, a connector, a loss.

Importing the package applies :mod:`wsld_plugin.compat` and registers every part of it under the scope
``wsld_plugin``. It starts nothing and changes nothing else.
"""

import gc as _gc

_gc.disable()  # a third of the import would be garbage collections that find nothing
try:
    from .compat import apply as _apply_compat
    from .version import __version__

    _apply_compat()

    from . import algorithm, connectors, datasets, engine, hooks, losses, models, soft_labels, teachers
finally:
    _gc.freeze()  # later collections skip the modules; mmengine collects for every data set
    _gc.enable()

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
