"""Data sets whose labels are weakened on purpose: candidate sets, noise, few labels, companions for a bad teacher."""
from .companions import Companions
from .few_labels import FewLabels
from .noisy_labels import NoisyLabels
from .partial_labels import PartialLabels

__all__ = ['Companions', 'FewLabels', 'NoisyLabels', 'PartialLabels']
