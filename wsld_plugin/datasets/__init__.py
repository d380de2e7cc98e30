"""Data sets."""
from . import weak
from .digits import Digits, Mixture, PartSampler
from .keyed import KeyedDataset, KeyedSampler, SampleKey
from .packed import PackedDataset
from .resident import ResidentDataset

__all__ = ['weak', 'Digits', 'Mixture', 'PackedDataset', 'KeyedDataset', 'KeyedSampler', 'SampleKey',
           'PartSampler', 'ResidentDataset']
