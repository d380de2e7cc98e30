"""Data sets."""
from . import transforms
from .digits import Digits
from .keyed import KeyedDataset, KeyedSampler, SampleKey
from .packed import PackedDataset
from .resident import ResidentDataset

__all__ = ['transforms', 'Digits', 'PackedDataset', 'KeyedDataset', 'KeyedSampler', 'SampleKey', 'ResidentDataset']
