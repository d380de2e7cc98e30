"""Losses: formulas in ``functional``, their registered modules in ``soft_label`` and ``biased``."""
from .biased import BadTeacherLoss, PartialLabelLoss
from .soft_label import KD, WSLD

__all__ = ['KD', 'WSLD', 'BadTeacherLoss', 'PartialLabelLoss']
