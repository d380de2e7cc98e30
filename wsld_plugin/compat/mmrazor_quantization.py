"""Let ``mmrazor.models`` be imported on PyTorch >= 2.1.

Cause: ``mmrazor.structures.quantization`` builds PyTorch's quantization configs when it is imported, from
names that PyTorch 2.1 moved. MMRazor's quantizers take two names from it; nothing of distillation does.

Idle where the real package can be imported.
"""
import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

_PACKAGE = 'mmrazor.structures.quantization'


def apply() -> None:
    """Put a stand-in in the package's place; using what it offers raises MMRazor's own ImportError."""
    if _PACKAGE in sys.modules:
        return
    known = set(sys.modules)
    try:
        importlib.import_module(_PACKAGE)
    except (ImportError, AttributeError):
        for name in set(sys.modules) - known:
            if name.startswith('mmrazor.structures'):
                del sys.modules[name]
        _stand_in()


def _stand_in() -> None:
    from mmrazor.utils.placeholder import get_placeholder

    module = ModuleType(_PACKAGE, 'Stands in for a package that needs torch < 2.1.')
    module.__spec__ = ModuleSpec(_PACKAGE, loader=None)
    for name in ('BackendConfigs', 'QConfigHandler'):
        setattr(module, name, _with_arguments(get_placeholder('torch<2.1')))
    sys.modules[_PACKAGE] = module
    parent, _, child = _PACKAGE.rpartition('.')
    setattr(importlib.import_module(parent), child, module)  # as a real import would


def _with_arguments(placeholder: type) -> type:
    # MMRazor's placeholder takes none, so that a quantizer would end in a TypeError that tells nothing.
    return type(placeholder.__name__, (placeholder,), {'__new__': lambda *_, **__: placeholder()})
