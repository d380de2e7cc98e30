"""Soft labels on disk: written once by a teacher, then read in training instead of running it."""
from .prepare import SoftLabelsHook
from .store import SoftLabels
from .teacher import CachedTeacher

__all__ = ['CachedTeacher', 'SoftLabels', 'SoftLabelsHook']
