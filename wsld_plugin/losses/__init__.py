"""Losses: the formulas in ``functional``, the modules in ``kd`` and ``wsld``.

Beside them ``partial_label``, for candidate sets, and ``bad_teacher``, for teachers.
"""
from .bad_teacher import BadTeacherLoss
from .kd import KD
from .partial_label import PartialLabelLoss
from .wsld import WSLD

__all__ = ['KD', 'WSLD', 'BadTeacherLoss', 'PartialLabelLoss']
