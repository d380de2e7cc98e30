"""Losses: the formulas in ``functional``, the modules in ``kd`` and ``wsld``; for teachers, ``bad_teacher``."""
from .bad_teacher import BadTeacherLoss
from .kd import KD
from .wsld import WSLD

__all__ = ['BadTeacherLoss', 'KD', 'WSLD']
