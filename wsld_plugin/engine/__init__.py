"""How a step runs: configs, launching, mixed precision, resume. Never what it computes."""
from .autocast import AutocastOptimWrapper
from .runner import Runner

__all__ = ['AutocastOptimWrapper', 'Runner']
