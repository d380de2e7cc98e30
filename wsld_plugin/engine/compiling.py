"""Whether this machine and a module can be compiled."""
from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import nn

from wsld_plugin.errors import ConfigError


def check_compiler(device: torch.device) -> None:
    """Refuse a machine without what `torch.compile` generates code with: a C++ compiler, or Triton on CUDA.

    Raises:
        ConfigError: naming what is missing.
    """
    if device.type == 'cuda':
        missing = None if find_spec('triton') else 'Triton'
    else:
        from torch._inductor import cpp_builder, exc
        try:
            cpp_builder.get_cpp_compiler()
            missing = None
        except exc.InvalidCxxCompiler:
            missing = 'a C++ compiler (g++ or clang++)'
    if missing:
        raise ConfigError(f'accelerate.compile needs {missing}, which this machine does not have. Install it, or set '
                          'accelerate=dict(compile=False).')


def hooked_inside(module: nn.Module) -> str | None:
    """The name of a submodule with a forward hook, such as a recorder's, at which a compiled graph would break."""
    return next((name for name, part in module.named_modules()
                 if name and (part._forward_hooks or part._forward_pre_hooks)), None)
