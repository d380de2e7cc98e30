"""How a run is configured, launched and accelerated."""
from .accelerate import AccelerateHook, AutocastOptimWrapper
from .runner import EpochLoop, Runner

__all__ = ['AccelerateHook', 'AutocastOptimWrapper', 'EpochLoop', 'Runner']
