"""OpenMMLab, the originals or the maintained forks, on current PyTorch and numpy.

Each remedy names its cause and when it does nothing. They act on the running process only: no installed file is
edited and nothing is installed.
"""
from __future__ import annotations

import ast
import importlib
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import nn

from wsld_plugin.errors import RunError

_NEEDED = ('mmengine', 'mmcv', 'mmpretrain', 'mmrazor', 'joblib')  # MMRazor imports joblib undeclared
_OLDEST_TORCH = '2.6'  # the first whose allow-list for checkpoints takes names
_NEWEST_MMCV = '2.1.0'
_QUANTIZATION = 'mmrazor.structures.quantization'


def apply() -> None:
    """Apply every remedy; a second call changes nothing. Raises as `check_requirements`."""
    check_requirements()
    import_mmcv_quietly()
    import_mmrazor_with_newer_mmcv()
    replace_quantization()
    fix_inplace_walk()
    rename_weights_in_place()
    name_unreadable_images()
    leave_config_text()


def applied() -> list[str]:
    """What was worked around in this process."""
    import mmcv
    from mmengine.config import config
    from mmengine.utils import digit_version
    from mmpretrain.models.classifiers import TimmClassifier
    from mmrazor.models.algorithms.base import BaseAlgorithm
    quantization = getattr(sys.modules.get(_QUANTIZATION), '__spec__', None)
    found = {
        'the version of MMCV that MMRazor accepts': digit_version(mmcv.__version__) > digit_version(_NEWEST_MMCV),
        "MMRazor's quantization": quantization is not None and quantization.loader is None,
        "MMRazor's walk over in-place modules": BaseAlgorithm.set_module_inplace_false is _set_module_inplace_false,
        "mmpretrain's names of timm's and Hugging Face's weights":
            TimmClassifier._remove_state_dict_prefix is _remove_state_dict_prefix,
        'the formatting of configs': getattr(config, 'FormatCode', None) is _checked,
    }
    return [name for name, acted in found.items() if acted]


def check_requirements() -> None:
    """Raise ImportError with the missing packages and the command that installs them.

    Cause: the originals and the forks share their module names, so neither can be a plain requirement without
    overwriting the other. The choice is an extra, which may have been left out.
    """
    if torch.__version__ < _OLDEST_TORCH:
        raise ImportError(
            f'wsld_plugin needs torch >= {_OLDEST_TORCH} to load checkpoints without executing them, but '
            f"torch {torch.__version__} is installed. Run: pip install 'torch>={_OLDEST_TORCH}'")
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ImportError(
            f'wsld_plugin needs {", ".join(missing)}, not installed here. Run one of\n'
            "    pip install 'wsld-plugin[openmmlab]'    the original OpenMMLab packages\n"
            "    pip install 'wsld-plugin[onedl]'        their maintained forks; "
            'choose these where onedl-* packages are installed already')


def import_mmcv_quietly() -> None:
    """Import MMCV's transformer module without its warning.

    Cause: mmcv-lite, and mmcv built without its operators, warn at import that a detector's attention is missing.
    Nothing in classification uses it, and the warning would be the first line of every run.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``', UserWarning)
        import mmcv.cnn.bricks.transformer  # noqa: F401


def import_mmrazor_with_newer_mmcv() -> None:
    """Import MMRazor while MMCV reports the newest version that MMRazor accepts; MMCV's own is restored.

    Cause: MMRazor 1.0.0 asserts ``mmcv.__version__ <= '2.1.0'`` at its first import; the fork is numbered 2.3. The
    parts of MMCV that distillation uses are the same. Does nothing if the version is in range or MMRazor is imported.
    """
    if 'mmrazor' in sys.modules:
        return
    import mmcv
    from mmengine.utils import digit_version

    version = mmcv.__version__
    if digit_version(version) <= digit_version(_NEWEST_MMCV):
        return
    mmcv.__version__ = _NEWEST_MMCV
    try:
        importlib.import_module('mmrazor')
    finally:
        mmcv.__version__ = version


def replace_quantization() -> None:
    """Replace ``mmrazor.structures.quantization`` by a stand-in that raises MMRazor's ImportError when used.

    Cause: the package builds PyTorch's quantization configs at import, from names that PyTorch 2.1 moved. MMRazor's
    quantizers take two names from it, distillation none. Does nothing if the package can be imported.
    """
    if _QUANTIZATION in sys.modules:
        return
    known = set(sys.modules)
    try:
        importlib.import_module(_QUANTIZATION)
        return
    except (ImportError, AttributeError):
        for name in set(sys.modules) - known:
            if name.startswith('mmrazor.structures'):
                del sys.modules[name]
    from mmrazor.utils.placeholder import get_placeholder

    placeholder = get_placeholder('torch<2.1')
    module = ModuleType(_QUANTIZATION, 'Stands in for a package that needs torch < 2.1.')
    module.__spec__ = ModuleSpec(_QUANTIZATION, loader=None)
    for name in ('BackendConfigs', 'QConfigHandler'):
        # MMRazor's placeholder accepts no arguments: a quantizer would raise a TypeError without the reason
        setattr(module, name, type(placeholder.__name__, (placeholder,), {'__new__': lambda *_, **__: placeholder()}))
    sys.modules[_QUANTIZATION] = module
    parent, _, child = _QUANTIZATION.rpartition('.')
    setattr(importlib.import_module(parent), child, module)  # as a real import would


def fix_inplace_walk() -> None:
    """Replace the walk with which MMRazor turns off in-place operations by one over ``modules()``.

    Cause: MMRazor's walk expects ``nn.Module._modules`` to be an ``OrderedDict``. In current PyTorch it is a dict, so
    the walk ends at once and recorded features are silently overwritten. Does nothing with an ``OrderedDict``.
    """
    if isinstance(nn.Module()._modules, OrderedDict):
        return
    from mmrazor.models.algorithms.base import BaseAlgorithm
    BaseAlgorithm.set_module_inplace_false = _set_module_inplace_false


def _set_module_inplace_false(self: Any, architecture: nn.Module, varstr: str) -> None:
    for module in architecture.modules():
        if hasattr(module, 'inplace'):
            setattr(module, 'inplace', False)  # noqa: B010  (a plain attribute that only some modules have)


def rename_weights_in_place() -> None:
    """Let `TimmClassifier` and `HuggingFaceClassifier` of mmpretrain rename their weights in the given dict.

    Cause: both leave out ``model.`` in the names of a state dict, in a hook that returns a new dict. PyTorch and
    mmengine ignore that dict for a classifier inside another model, such as a student: its checkpoints have names
    that the hook for loading does not expect.
    """
    from mmpretrain.models.classifiers import HuggingFaceClassifier, TimmClassifier
    for kind in (HuggingFaceClassifier, TimmClassifier):
        kind._remove_state_dict_prefix = staticmethod(_remove_state_dict_prefix)


def _remove_state_dict_prefix(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    items = list(state.items())
    state.clear()  # the order of the names is kept
    for name, value in items:
        inside = name.startswith(f'{prefix}model.')
        state[prefix + name.removeprefix(f'{prefix}model.') if inside else name] = value


def name_unreadable_images() -> None:
    """Name the file in the error of an image that cannot be read.

    Cause: the errors of MMCV's decoders for an empty or damaged file do not name it.
    """
    from mmcv.transforms import LoadImageFromFile
    if not hasattr(LoadImageFromFile.transform, '__wrapped__'):
        LoadImageFromFile.transform = _naming(LoadImageFromFile.transform)


def _naming(transform: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(transform)
    def named(self: Any, results: dict[str, Any]) -> Any:
        try:
            return transform(self, results)
        except Exception as error:
            raise RunError(f'{results.get("img_path")} cannot be read as an image ({error}). Repair or remove '
                           'it.') from error
    return named


def leave_config_text() -> None:
    """Leave the text of a config as mmengine writes it: one entry a line.

    Cause: mmengine 0.10 formats it again with yapf, which takes about half a second. Does nothing if mmengine does
    not format with yapf.
    """
    from mmengine.config import config
    if hasattr(config, 'FormatCode'):
        config.FormatCode = _checked


def _checked(code: str, **_: Any) -> tuple[str, bool]:
    ast.parse(code)
    return code, False
