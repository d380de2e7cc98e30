"""Registries of this project: scope ``wsld_plugin``, children of mmengine's.

A config names a part of this package as ``type='wsld_plugin.WSLD'``, whatever its default scope.
"""
from mmengine import registry as root
from mmengine.registry import Registry

_SCOPE = 'wsld_plugin'


def _child(parent: Registry, *locations: str) -> Registry:
    return Registry(parent.name, parent=parent, scope=_SCOPE,
                    locations=[f'{_SCOPE}.{location}' for location in locations])


MODELS = _child(root.MODELS, 'losses', 'connectors', 'teachers', 'soft_labels', 'algorithm', 'models')
DATASETS = _child(root.DATASETS, 'datasets')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'datasets')
FUNCTIONS = _child(root.FUNCTIONS, 'datasets')
HOOKS = _child(root.HOOKS, 'hooks', 'engine', 'soft_labels')
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, 'engine')
RUNNERS = _child(root.RUNNERS, 'engine')
LOOPS = _child(root.LOOPS, 'engine')
