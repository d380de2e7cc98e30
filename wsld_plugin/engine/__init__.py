"""How a step runs: configs, launching, mixed precision, resume. Never what it computes."""
from .autocast import AutocastOptimWrapper

__all__ = ['AutocastOptimWrapper']
