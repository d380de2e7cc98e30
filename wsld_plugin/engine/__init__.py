"""How a run is configured, launched and accelerated."""
from .accelerate import AccelerateHook, AutocastOptimWrapper, Runner

__all__ = ['AccelerateHook', 'AutocastOptimWrapper', 'Runner']
