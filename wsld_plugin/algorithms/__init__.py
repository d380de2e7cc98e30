"""The one algorithm: a student that learns from soft labels."""
from .soft_label_distill import SoftLabelDistill

__all__ = ['SoftLabelDistill']
