"""Losses on logits: the formulas in ``functional``, the modules for configs in ``kd`` and ``wsld``."""
from .kd import KD
from .wsld import WSLD

__all__ = ['KD', 'WSLD']
