"""Data sets."""
from . import weak
from .digits import Digits
from .keyed import KeyedDataset, KeyedSampler, SampleKey
from .packed import PackedDataset
from .parts import PartSampler
from .resident import ResidentDataset
from .synthetic import Mixture

__all__ = ['weak', 'Digits', 'Mixture', 'PackedDataset', 'KeyedDataset', 'KeyedSampler', 'SampleKey',
           'PartSampler', 'ResidentDataset']
